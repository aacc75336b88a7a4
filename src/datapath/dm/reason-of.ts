import { getSystemErrorMap } from 'node:util';

/** Of -errno, in words. */
export const reasonOf = (result: number): string => getSystemErrorMap().get(result)?.[1] ?? `error ${-result}`;
