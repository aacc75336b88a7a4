// Time as a connection measures it: microseconds in integers of 32 bits, which make no garbage.

import type { Syscalls } from '../../host/syscalls.ts';

/** Microseconds since some moment, wrapping (ClockCalls.microseconds). */
export type Clock = () => number;

export const clockOf = (syscalls: Syscalls | null): Clock => syscalls?.microseconds ?? ((): number => (performance.now() * 1000) | 0);

/** Right for spans of up to 35 minutes. */
export const elapsedUs = (fromUs: number, toUs: number): number => (toUs - fromUs) | 0;
