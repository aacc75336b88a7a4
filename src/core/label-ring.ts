// x
export type Packer = { pack(data: Uint8Array): Uint8Array; unpack(data: Uint8Array, limitBytes: number): Uint8Array };
