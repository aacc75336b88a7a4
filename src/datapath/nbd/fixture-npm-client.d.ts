// What tests use of the npm client, which comes without types.

type Settings = { readonly address: string; readonly port: number | string; readonly exportname: string };
type Extent = { readonly offset: number; readonly length: number; readonly type: number };

declare module '@vates/nbd-client' {
  export default class NbdTcpClient {
    constructor(settings: Settings, options?: { readonly waitBeforeReconnect?: number; readonly readBlockRetries?: number });
    readonly exportSize: bigint;
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    readBlock(index: number, size?: number): Promise<Buffer>;
    /** By `nbdinfo`, over TCP. */
    getMap(): Promise<readonly Extent[]>;
  }
}

declare module '@vates/nbd-client/multi.mjs' {
  export default class MultiNbdClient {
    constructor(settings: Settings, options?: { readonly nbdConcurrency?: number; readonly readAhead?: number });
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    readBlocks(blocks: () => Iterable<{ readonly index: number; readonly size: number }>): AsyncIterable<Buffer>;
  }
}

declare module '@vates/nbd-client/NbdDisk.mjs' {
  export class NbdDisk {
    constructor(settings: Settings, blockBytes: number);
    init(): Promise<void>;
    close(): Promise<void>;
    getVirtualSize(): number;
    getBlockIndexes(): readonly number[];
    readBlock(index: number): Promise<{ readonly index: number; readonly data: Buffer }>;
  }
}
