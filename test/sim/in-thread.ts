// Long simulations run in a thread of their own: the test runner follows every promise of its thread, which costs them a third.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

type Job = { readonly module: string; readonly name: string; readonly args: readonly unknown[] };
type Answer = { readonly value: unknown } | { readonly error: string };

/** What that exported function of that module gives; arguments and results are plain data. */
export async function inThread<T>(module: URL, name: string, ...args: readonly unknown[]): Promise<T> {
  const job: Job = { module: module.href, name, args };
  const answer = Promise.withResolvers<Answer>();
  const worker = new Worker(new URL(import.meta.url), { workerData: job });
  worker.once('message', answer.resolve).once('error', answer.reject);
  const told = await answer.promise.finally(() => void worker.terminate());
  if ('error' in told) throw new Error(told.error);
  return told.value as T;
}

async function serve({ module, name, args }: Job): Promise<Answer> {
  try {
    const functions = (await import(module)) as Record<string, (...given: readonly unknown[]) => Promise<unknown>>;
    return { value: await functions[name]?.(...args) };
  } catch (error) {
    const { message, cause } = error as Error;
    return { error: `${message}${cause instanceof Error ? `\n${cause.stack ?? cause.message}` : ''}` };
  }
}

if (!isMainThread) parentPort?.postMessage(await serve(workerData as Job), []);
