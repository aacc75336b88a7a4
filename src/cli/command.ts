// What a command is: words for its help and completion, flags, arguments, and the module that does it. One table of these
// (commands.ts) is the source of parsing, help, completion and man pages.

import type { Settings } from '../daemon/settings.ts';
import type { Xvd } from '../library/open-xvd.ts';

export type Flag = {
  readonly kind: 'boolean' | 'text' | 'list';
  /** How its value is called in help: `SIZE`. */
  readonly value?: string;
  readonly help: string;
  readonly choices?: readonly string[];
};

export type Argument = { readonly name: string; readonly optional?: boolean; readonly help: string; readonly choices?: readonly string[] };

export type CommandSpec = {
  /** `create`, `domain start` */
  readonly name: string;
  readonly summary: string;
  readonly details?: string;
  readonly arguments: readonly Argument[];
  readonly flags: Readonly<Record<string, Flag>>;
  readonly load: () => Promise<Command>;
};

export type Invocation = {
  readonly args: readonly (string | undefined)[];
  readonly flag: (name: string) => boolean;
  readonly value: (name: string) => string | undefined;
  readonly values: (name: string) => readonly string[];
};

export type Context = {
  readonly settings: Settings;
  readonly json: boolean;
  /** Opened at first use, closed by main. */
  xvd(): Promise<Xvd>;
  /** A line on standard error: warnings, progress. */
  tell(line: string): void;
  /** For progress bars: only on a terminal. */
  readonly progress: ((doneBytes: number, totalBytes: number, done?: string) => void) | null;
  /** Ends when the user interrupts. */
  readonly signal: AbortSignal;
  /** All commands, for completion. */
  readonly commands: readonly CommandSpec[];
  readonly nowMs: number;
  readonly colour: boolean;
  readonly columns: number;
  /** Prints at once, for what goes on until it is interrupted. */
  print(text: string): void;
};

/** `value` is printed as JSON, `text` without --json. `exit` when it is not 0. */
export type Outcome = { readonly value: unknown; readonly text: string; readonly exit?: number };
export type Command = { run(context: Context, invocation: Invocation): Promise<Outcome> };
