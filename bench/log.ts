import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRepository, packFolder, uploadFile, waitForEnd } from '../test/harness/build-client.ts';
import { SlipwayServer } from '../test/harness/slipway-server.ts';
import { logContext, logLineBytes, logMark } from './contexts.ts';
import { report } from './report.ts';

/**
 * One build whose only step writes 1 GB in lines of 100 bytes, through the engine, the worker, gRPC and the store to one
 * reader of the event stream, who counts every line. The clock runs from the first line to the last as the reader sees
 * them. The server's memory is the highest resident set it ever had.
 */
const bytes = 1_000_000_000;

const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
const server = await SlipwayServer.start(['--workers', '1', '--log-limit', String(Number.MAX_SAFE_INTEGER)], {
  launcher: true,
});

interface Read {
  lines: number;
  milliseconds: number;
}

/** Reads the stream as a program would, but counts lines in the raw bytes: parsing JSON is the reader's own affair. */
async function readStream(path: string): Promise<Read> {
  return await new Promise((resolve, reject) => {
    const url = new URL(path, server.url);
    const asked = request(
      url,
      { headers: { authorization: `Bearer ${server.token}`, accept: 'text/event-stream' } },
      (response) => {
        const read: Read = { lines: 0, milliseconds: 0 };
        const mark = Buffer.from(logMark);
        let first = 0;
        let last = 0;
        let held: Buffer = Buffer.alloc(0);
        response.on('data', (chunk: Buffer) => {
          const data = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
          const before = read.lines;
          let at = data.indexOf(mark);
          let end = 0;
          while (at >= 0) {
            read.lines += 1;
            end = at + mark.length;
            at = data.indexOf(mark, end);
          }
          held = Buffer.from(data.subarray(Math.max(end, data.length - mark.length + 1)));
          if (read.lines > before) {
            const now = performance.now();
            if (first === 0) first = now;
            last = now;
          }
        });
        response.on('end', () => {
          read.milliseconds = last - first;
          resolve(read);
        });
        response.on('error', reject);
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

try {
  await logContext(join(folder, 'context'), bytes);
  const archive = join(folder, 'package');
  const fileId = await uploadFile(
    server,
    archive,
    await packFolder(join(folder, 'context'), 'tar.gz', archive),
  );
  await createRepository(server, 'admin', 'log');
  const { id } = await server.json<{ id: string }>('POST', '/api/v1/repository/admin/log/build/', {
    file_id: fileId,
    push: false,
  });
  const read = await readStream(`/api/v1/repository/admin/log/build/${id}/logs/stream`);
  const end = await waitForEnd(server, 'admin/log', id);
  if (end.phase !== 'complete')
    throw new Error(`the build ended in ${end.phase}: ${end.error_code} ${end.error}`);
  const wanted = bytes / logLineBytes;
  if (read.lines !== wanted) throw new Error(`the reader saw ${read.lines} lines, not ${wanted}`);
  const status = await readFile(`/proc/${server.pid}/status`, 'utf8');
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
  report('log', [
    {
      name: 'throughput',
      value: bytes / 1e6 / (read.milliseconds / 1000),
      unit: 'MB/s',
      limit: { kind: 'at-least', value: 30 },
    },
    { name: 'lines_per_second', value: wanted / (read.milliseconds / 1000), unit: 'lines/s' },
    { name: 'server_peak_memory', value: peak, unit: 'MB', limit: { kind: 'at-most', value: 300 } },
  ]);
} finally {
  await server.dispose();
  await rm(folder, { recursive: true, force: true });
}
