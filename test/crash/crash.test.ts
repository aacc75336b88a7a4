// XVD_KILL_RUNS kills (`make crash-campaign`: 1,000), XVD_KILL_SEED for the same commands again.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { runCampaign } from './campaign.ts';
import { linesOf } from './killing.ts';

const kills = Number(process.env['XVD_KILL_RUNS'] ?? 25);
const seed = Number(process.env['XVD_KILL_SEED'] ?? Date.now() % 1_000_000);

test(
  `after kill -9 at ${kills} random moments the next command works, check is clean, and nobody reads what others wrote`,
  { timeout: 3 * 3_600_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    const tallies = await runCampaign(kills, seed, (line) => t.diagnostic(line));
    for (const line of linesOf(tallies)) t.diagnostic(line);
    assert.equal(
      [...tallies.values()].reduce((sum, tally) => sum + tally.kills, 0),
      kills,
    );
  },
);
