import { crc32, deflateRawSync } from 'node:zlib';

/** Archives written byte by byte for tests, because real packers refuse to make most of what they need. */
export interface TarMember {
  readonly name: string | Buffer;
  readonly type?: string;
  readonly data?: Buffer | string;
  readonly link?: string;
  readonly mode?: number;
  readonly mtime?: number;
  /** The size in the header, when it is to be a lie. */
  readonly size?: number;
}

export function tarOf(members: readonly TarMember[], end = true): Buffer {
  const parts = members.flatMap((member) => {
    const data = Buffer.from(member.data ?? '');
    return [tarHeaderOf(member, data.length), data, Buffer.alloc((512 - (data.length % 512)) % 512)];
  });
  return Buffer.concat(end ? [...parts, Buffer.alloc(1024)] : parts);
}

function tarHeaderOf(member: TarMember, length: number): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, width: number) => `${value.toString(8).padStart(width - 1, '0')}\0`;
  Buffer.from(member.name).copy(header, 0, 0, 100);
  header.write(octal(member.mode ?? 0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(member.size ?? length, 12), 124);
  header.write(octal(member.mtime ?? 1_600_000_000, 12), 136);
  header.write('        ', 148);
  header.write(member.type ?? '0', 156);
  header.write(member.link ?? '', 157, 100);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** A PAX extended header for the member that follows. */
export function paxOf(records: Readonly<Record<string, string>>): TarMember {
  const data = Object.entries(records)
    .map(([key, value]) => {
      const rest = Buffer.byteLength(` ${key}=${value}\n`);
      let length = rest + String(rest).length;
      if (rest + String(length).length !== length) length = rest + String(length).length;
      return `${length} ${key}=${value}\n`;
    })
    .join('');
  return { name: 'PaxHeader', type: 'x', data };
}

export interface ZipMember {
  readonly name: string | Buffer;
  readonly data?: Buffer | string;
  /** Unix type and permissions; without it the member is as DOS packers make it. */
  readonly mode?: number;
  readonly stored?: boolean;
  readonly encrypted?: boolean;
  /** The unpacked size in the directory, when it is to be a lie. */
  readonly size?: number;
  readonly crc?: number;
  /** The packed data is overwritten. */
  readonly spoiled?: boolean;
}

export function zipOf(members: readonly ZipMember[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const member of members) {
    const name = Buffer.from(member.name);
    const data = Buffer.from(member.data ?? '');
    const packed = member.stored ? data : deflateRawSync(data);
    if (member.spoiled) packed.fill(0xff);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(member.encrypted ? 1 : 0, 2);
    fields.writeUInt16LE(member.stored ? 0 : 8, 4);
    fields.writeUInt16LE(0x6000, 6);
    fields.writeUInt16LE(0x5021, 8);
    fields.writeUInt32LE(member.crc ?? crc32(data), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(member.size ?? data.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), fields, name, packed]);
    const central = Buffer.alloc(14);
    central.writeUInt32LE(member.mode === undefined ? 0 : (member.mode << 16) >>> 0, 6);
    central.writeUInt32LE(offset, 10);
    const madeBy = Buffer.from([20, member.mode === undefined ? 0 : 3]);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02', 'latin1'), madeBy, fields, central, name]));
    locals.push(local);
    offset += local.length;
  }
  const size = directory.reduce((total, each) => total + each.length, 0);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...directory, end]);
}
