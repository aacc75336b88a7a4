// A hypervisor made from a hypervisor, in which calls fail when a test says so: before they did anything, or after.

import type { Hypervisor } from '../hypervisor.ts';

export type HypervisorCall = Extract<keyof Hypervisor, string>;
/** An error to throw, and whether the call happens first. null: the call goes through. */
export type HypervisorFault = { readonly error: Error; readonly after: boolean } | null;

export function faultyHypervisor<H extends Hypervisor>(hypervisor: H, faultOf: (call: HypervisorCall) => HypervisorFault): H {
  return new Proxy(hypervisor, {
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver);
      const faultable = ['plug', 'unplug', 'plugged', 'find', 'domains', 'start', 'stop', 'foreignUsers', 'console', 'available'];
      if (typeof value !== 'function' || typeof name !== 'string' || !faultable.includes(name)) return value;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        const fault = faultOf(name as HypervisorCall);
        if (fault !== null && !fault.after) throw fault.error;
        const result: unknown = await Reflect.apply(value, target, args);
        if (fault !== null) throw fault.error;
        return result;
      };
    },
  });
}
