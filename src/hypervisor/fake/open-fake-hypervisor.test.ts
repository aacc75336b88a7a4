import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hypervisorContract } from '../contract.ts';
import { faultyHypervisor } from './faulty-hypervisor.ts';
import { openFakeHypervisor } from './open-fake-hypervisor.ts';

const targets = [
  { target: '/dev/xvda', vdev: 51712 },
  { target: '/dev/xvdb', vdev: 51728 },
] as const;
const endpoint = { kind: 'block', path: '/dev/sim0' } as const;

hypervisorContract('fake hypervisor', async () => {
  const hypervisor = openFakeHypervisor({ domains: ['web01'] });
  return {
    hypervisor,
    domain: 'web01',
    targets,
    endpoint: async () => endpoint,
    use: async ({ generation }, inUse) => hypervisor.use(generation, inUse),
    [Symbol.asyncDispose]: async () => undefined,
  };
});

test('a domain that ends takes its plugs with it and tells its watchers', async () => {
  const hypervisor = openFakeHypervisor({ domains: ['web01'] });
  const ended: string[] = [];
  const stop = new AbortController();
  hypervisor.watchEnds((domain) => void ended.push(domain), stop.signal);
  await hypervisor.plug({ generation: 1, domain: 'web01', ...targets[0], mode: 'w', serial: 'x', endpoint });
  hypervisor.endDomain('web01');
  assert.deepEqual(ended, ['web01']);
  assert.deepEqual(await hypervisor.plugged(), []);
  stop.abort();
  hypervisor.addDomain('web02');
  hypervisor.endDomain('web02');
  assert.deepEqual(ended, ['web01']);
});

test('faultyHypervisor() fails after the plug was made', async () => {
  const hypervisor = openFakeHypervisor({ domains: ['web01'] });
  const faulty = faultyHypervisor(hypervisor, (call) => (call === 'plug' ? { error: new Error('planned'), after: true } : null));
  await assert.rejects(faulty.plug({ generation: 1, domain: 'web01', ...targets[0], mode: 'w', serial: 'x', endpoint }), /planned/);
  assert.deepEqual(await faulty.plugged(), [1]);
});
