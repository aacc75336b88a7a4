// Time as a connection measures it: microseconds in integers of 32 bits, which make no garbage.

import type { Syscalls } from '../../host/syscalls.ts';

/** Microseconds since some moment, wrapping (ClockCalls.microseconds). */
export type Clock = () => number;

export const clockOf = (syscalls: Syscalls | null): Clock => syscalls?.microseconds ?? ((): number => (performance.now() * 1000) | 0);

/** Never negative, and right for spans of up to 71 minutes: a process that was stopped for an hour must not go on waiting for the end of a moment. */
export const elapsedUs = (fromUs: number, toUs: number): number => (toUs - fromUs) >>> 0;
