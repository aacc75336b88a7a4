// A host made from a host, in which calls fail when a test says so: before they did anything, or after they did it all.

import type { Host } from '../host.ts';

export type HostCall = keyof Host;
/** An error to throw, and whether the call happens first. null: the call goes through. */
export type Fault = { readonly error: Error; readonly after: boolean } | null;

export function faultyHost(host: Host, faultOf: (call: HostCall) => Fault): Host {
  return new Proxy(host, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        const fault = faultOf(name as HostCall);
        if (fault !== null && !fault.after) throw fault.error;
        const result: unknown = await Reflect.apply(value, target, args);
        if (fault !== null) throw fault.error;
        return result;
      };
    },
  });
}
