// A limit on everything, in one place, each with the reason for its number.

import { GIB, MIB } from './units.ts';

export const limits = {
  /** Names are shown in tables and become file names: 64 characters fit both. */
  nameLength: 64,
  /** Sizes stay exact in a JavaScript number. */
  sizeBytes: Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % 4096),
  extentBytesMin: 64 * 1024,
  extentBytesMax: 64 * GIB,
  /** One label at the head and one at the tail of every pool device: a multiple of every physical block in use. */
  labelBytes: MIB,
  /** Labels may lag behind the catalog by so much: a command that finds more writes them, the daemon writes them every labelLagMs. */
  labelLagCommits: 64,
  labelLagMs: 5_000,
  /** A command that changes something writes labels that are older than this: people wait longer between two commands. */
  labelAgeMs: 1_000,
  /** A wipe that finds as many bad extents gives up: the device fails all over. */
  badExtentsPerWipe: 64,
  /** A catalog of more disks is not copied onto labels: that would take seconds, and would not fit. */
  labelCopyDisks: 20_000,
  /** What a compressed copy may grow to: labelCopyDisks at some hundred bytes each. */
  labelCopyBytes: 256 * MIB,
  labelsPerDisk: 64,
  labelValueLength: 256,
  /** A lease longer than this is a mistake of units: 100 years. */
  leaseMs: 100 * 365.25 * 86_400_000,
  /** Wall time may differ from time since boot by that much before the clock is suspect (spec: Clock). */
  clockDriftMs: 60_000,
  /** What NBD clients may ask at once; QEMU and the kernel send at most 32 MiB. */
  nbdRequestBytes: 32 * MIB,
  nbdNameLength: 4096,
  nbdOptionBytes: 64 * 1024,
  /** Before a client has chosen: qemu-nbd --list asks three times for each of `vbds` exports. */
  nbdOptions: 16_384,
  nbdAnswerBytes: 16 * MIB,
  nbdConnectionsPerVbd: 16,
  /** Clients that the daemon has accepted and not handed to a process yet, of a VBD or over TCP; more are turned away. */
  nbdAccepted: 64,
  /** Clients over TCP that have not chosen a VBD yet: each has a process, and nobody knows who it is. */
  nbdHandshakes: 32,
  /** So many of them from one address: who takes these leaves places for the others. */
  nbdHandshakesPerAddress: 8,
  /** For the whole handshake, on Unix sockets too. */
  nbdHandshakeMs: 10_000,
  /** From when a spare process is told of its client until it has answered, which takes it 2 ms. */
  nbdHandoverMs: 5000,
  /** Kept ready while an NBD VBD is served: as many as clients that use several connections open at once; 15 MB each. */
  nbdSpareProcesses: 4,
  /** A connection without a request for so long waits in a shell: longer than guests take between two writes of their own logs. */
  nbdParkAfterMs: 60_000,
  vbds: 4096,
  /** How long a writer waits for other writers of the catalog before CATALOG_LOCKED. */
  catalogLockMs: 5_000,
  /** How long a command waits for another that formats or attaches the same sectors. */
  claimMs: 5_000,
  /** How often a format looks at what others have formatted or attached meanwhile: each time, somebody else was done. */
  formatCompares: 64,
  /** Ending a process is immediate unless it hangs in a dead device, and a device that takes nothing for so long hangs: FENCE_UNPROVED. */
  fenceMs: 10_000,
  /** sun_path of Linux has 108 bytes with its end. */
  socketPathBytes: 107,
  programMs: 30_000,
  /** Keys tried for a semaphore: of the 65,535 a host uses as many as it is making devices. */
  udevCookies: 64,
  /** An image is copied in parts of this size: starting a program for each costs a hundredth of it, and what is lost when it is cut off is little. */
  copyPartBytes: 256 * MIB,
  /** A part may have to wait for a slow disk, not for ever: 70 KiB a second. */
  copyPartMs: 3_600_000,
  programOutputBytes: 16 * MIB,
  /** History that `events` and `recover --before` reach back. */
  events: 100_000,
  eventPage: 1_000,
  listPage: 1_000,
  requestBodyBytes: MIB,
  domainDisks: 26,
  /** An attach looks at the host again when the pool changed meanwhile; more often than this it changes all the time. */
  attachTries: 5,
} as const;
