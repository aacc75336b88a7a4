// A reporter of Node's test runner that writes nothing but the counts of the whole run, as JSON.

type TestEvent = { readonly type: string; readonly data: { readonly file?: string; readonly counts?: Readonly<Record<string, number>> } };

export default async function* counts(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const { type, data } of source) {
    // One summary comes for each file, and one without a file for the run.
    if (type !== 'test:summary' || data.file !== undefined || !data.counts) continue;
    const { tests = 0, passed = 0, failed = 0, cancelled = 0, skipped = 0 } = data.counts;
    yield JSON.stringify({ tests, passed, failed: failed + cancelled, skipped });
  }
}
