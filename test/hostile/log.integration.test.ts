import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readLog } from '../harness/build-client.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { build, buildBase, dockerfileBuild, outcomeOf, uploadContext } from './hostile-build.ts';
import { download, followEvents, readEvents, stuckReader, textOf } from './log-readers.ts';

/** Builds that write what logs do not like, and readers that do not behave. */
let server: SlipwayServer;
let small: SlipwayServer;
let base: string;

beforeAll(async () => {
  server = await SlipwayServer.start(['--workers', '3', '--retry-delay', '0']);
  await server.becomeUser('log');
  base = await buildBase(server, 'log/base');
});

afterAll(async () => {
  await server?.dispose();
  await small?.dispose();
});

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** What the script printed: what stands between two marks that it prints itself. */
async function written(
  name: string,
  script: string,
  body: Readonly<Record<string, unknown>> = {},
  mount = '',
): Promise<{ readonly bytes: Buffer; readonly repository: string; readonly id: string }> {
  const repository = `log/${name}`;
  const file_id = await uploadContext(server, {
    Dockerfile: `FROM ${base}\nCOPY script /script\nRUN ${mount} sh /script\n`,
    script: `printf '<%s>\\n' begin\n${script}\nprintf '<%s>\\n' end\n`,
  });
  const { view, text } = await build(server, repository, { file_id, no_cache: true, ...body });
  expect(view.phase, `${view.error}\n${text.slice(-3000)}`).toBe('complete');
  const bytes = await download(server, repository, view.id);
  const from = bytes.indexOf('<begin>\n');
  const to = bytes.indexOf('<end>\n');
  expect(from, bytes.toString('latin1').slice(0, 2000)).toBeGreaterThanOrEqual(0);
  expect(to).toBeGreaterThan(from);
  // Pages and events say the same as the download does.
  const pages = await readLog(server, repository, view.id);
  const events = await readEvents(server, repository, view.id);
  expect(events.ended).toBe(true);
  expect(events.entries.length).toBe(pages.length);
  expect(textOf(events.entries) === textOf(pages)).toBe(true);
  expect(textOf(pages) === bytes.toString('utf8')).toBe(true);
  return { bytes: bytes.subarray(from + '<begin>\n'.length, to), repository, id: view.id };
}

describe('what a step writes is what the download has, byte for byte', () => {
  test.concurrent('a line of 10 MB', async () => {
    const { bytes } = await written('long-line', `head -c 10000000 /dev/zero | tr '\\0' x; echo`);
    expect(bytes.length).toBe(10_000_001);
    expect(bytes.equals(Buffer.concat([Buffer.alloc(10_000_000, 'x'), Buffer.from('\n')]))).toBe(true);
  });

  test.concurrent('100,000 lines a second', async () => {
    const { bytes } = await written('many-lines', 'seq 1 200000');
    expect(bytes.toString()).toBe(`${Array.from({ length: 200_000 }, (_, index) => index + 1).join('\n')}\n`);
  });

  test.concurrent('bytes that are no text, NUL, and every other one', async () => {
    const all = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const script = [...all].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
    const { bytes } = await written('all-bytes', `printf '${script}\\n'`);
    expect(bytes.equals(Buffer.concat([all, Buffer.from('\n')]))).toBe(true);
  });

  test.concurrent('characters that are written in pieces', async () => {
    const { bytes, repository, id } = await written(
      'split-characters',
      ['\\360', '\\237', '\\232', '\\242', '\\303', '\\251', '\\342\\234', '\\223\\n']
        .map((piece) => `printf '${piece}'; sleep 0.4`)
        .join('\n'),
    );
    expect(bytes.toString()).toBe('🚢é✓\n');
    expect(textOf(await readLog(server, repository, id))).toContain('🚢é✓\n');
    expect(textOf(await readLog(server, repository, id))).not.toContain('\ufffd');
  });

  test.concurrent('colours, titles, cursor movement and progress on one line', async () => {
    const text =
      '\\033[31mred\\033[0m\\033]0;title\\007\\033[2J\\033[1;1H\\n10%%\\r50%%\\r100%%\\r\\ndone\\n';
    const { bytes } = await written('control', `printf '${text}'`);
    expect(bytes.toString('latin1')).toBe(
      '\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J\x1b[1;1H\n10%\r50%\r100%\r\ndone\n',
    );
  });

  test.concurrent('but for secrets: whole, in two writes, in base64, and line by line', async () => {
    const secret = 'hunter2-correct-horse';
    const key = `-----BEGIN KEY-----\nMIIEvAIBADANBgkqhkiG9w0BAQEF\nAASCBKYwggSiAgEAAoIBAQC7VJTU\n-----END KEY-----\n`;
    const { bytes } = await written(
      'secrets',
      `s=$(cat /run/secrets/password)
echo "whole $s"
printf 'split %s' "$(echo $s | head -c 9)"; sleep 0.6; printf '%s\\n' "$(echo $s | tail -c +10)"
for c in $(echo $s | sed 's/./& /g'); do printf %s $c; done; echo
printf %s "$s" | base64
printf 'user:%s' "$s" | base64
cat /run/secrets/key
echo "one line MIIEvAIBADANBgkqhkiG9w0BAQEF"`,
      { secrets: { password: base64(secret), key: base64(key) } },
      '--mount=type=secret,id=password --mount=type=secret,id=key',
    );
    const text = bytes.toString();
    expect(text).toMatch(/^whole \*\*\*\nsplit \*\*\*\n\*\*\*\n/);
    expect(text).toMatch(/one line \*\*\*\n$/);
    for (const part of [
      secret,
      'hunter2',
      'correct-horse',
      base64(secret).slice(0, 16),
      'MIIEvAIBADAN',
      'AASCBKYw',
    ])
      expect(text).not.toContain(part);
    expect(text).not.toContain(base64(`user:${secret}`).slice(8, 28));
  });
});

test('a line without an end is seen while it grows', async () => {
  const repository = 'log/growing';
  const { id } = await dockerfileBuild(
    server,
    repository,
    `FROM ${base}\nRUN for i in 1 2 3 4 5 6 7 8 9 10; do printf "piece-$i "; sleep 0.5; done\n`,
    { no_cache: true },
  );
  const { entries, times, ended } = await readEvents(server, repository, id);
  expect(ended).toBe(true);
  const at = (word: string) =>
    times[entries.findIndex(({ message, type }) => type !== 'command' && message.includes(word))];
  const [first = 0, last = 0] = [at('piece-1 '), at('piece-10 ')];
  expect(first).toBeGreaterThan(0);
  // 4.5 s lie between the two; had they come together, at the end, it would be nothing.
  expect(last - first).toBeGreaterThan(3_000);
  expect(textOf(entries)).toMatch(/^piece-1 piece-2 piece-3 .*piece-10 /m);
});

describe('readers', () => {
  const lines = 100_000;
  const line = (index: number) => `${index} ${'.'.repeat(60)}`;
  let repository: string;
  let id: string;

  test('fifty at once get everything, and one that stops reading costs no memory', async () => {
    repository = 'log/fast';
    const started = await dockerfileBuild(
      server,
      repository,
      `FROM ${base}\nRUN sleep 1; seq 1 ${lines} | sed 's/$/ ${'.'.repeat(60)}/'\n`,
      { no_cache: true },
    );
    id = started.id;
    const stuck = await stuckReader(server, repository, id);
    let largest = 0;
    const watch = setInterval(() => {
      void memory(server.pid).then((bytes) => {
        largest = Math.max(largest, bytes);
      });
    }, 100);
    try {
      const before = await memory(server.pid);
      const began = performance.now();
      const counts = await Promise.all(
        Array.from({ length: 50 }, async () => {
          let last: string | undefined;
          const { next, ended } = await followEvents(server, repository, id, (entries) => {
            last = entries.findLast(({ message }) => message.startsWith(`${lines} `))?.message ?? last;
          });
          return { next, last, ended };
        }),
      );
      const { view, text } = await outcomeOf(server, repository, id);
      expect(view.phase, text.slice(-500)).toBe('complete');
      const total = (
        await server.json<{ total: number }>(
          'GET',
          `/api/v1/repository/${repository}/build/${id}/logs?start=0&limit=1`,
        )
      ).total;
      expect(total).toBeGreaterThan(lines);
      for (const each of counts) expect(each).toEqual({ next: total, last: line(lines), ended: true });
      console.info(
        `50 readers, ${total} entries each: ${Math.round(performance.now() - began)} ms; memory of the server ${mib(before)} → at most ${mib(largest)} MiB`,
      );
      expect(largest).toBeLessThan(900 * 1024 ** 2);
    } finally {
      clearInterval(watch);
      stuck.destroy();
    }
  });

  test('go on anywhere', async () => {
    const whole = await readLog(server, repository, id);
    for (const from of [1, 7, 4_999, 10_000, 54_321, whole.length - 1, whole.length]) {
      const { entries, ended } = await readEvents(server, repository, id, from);
      expect(ended).toBe(true);
      expect(entries.length, String(from)).toBe(whole.length - from);
      expect(entries[0]).toEqual(whole[from]);
      expect(entries.at(-1)).toEqual(whole.length === from ? undefined : whole.at(-1));
    }
  });

  test.each(['-1', '1.5', 'abc', '1e400', '99999999999999999999', 'NaN'])(
    'a position of %s is refused',
    async (bad) => {
      const path = `/api/v1/repository/${repository}/build/${id}/logs`;
      for (const [where, init] of [
        [`${path}/stream`, { headers: { 'last-event-id': bad } }],
        [`${path}/stream?start=${bad}`, {}],
        [`${path}?start=${bad}`, {}],
      ] as const) {
        const response = await server.fetch(where, init);
        const text = await response.text();
        expect([where, response.status, text]).toEqual([
          where,
          400,
          expect.stringMatching(/start|last-event-id/),
        ]);
      }
    },
  );
});

test('of a log over the limit head and tail are kept, and it says what was left out', async () => {
  small = await SlipwayServer.start(['--workers', '1', '--retry-delay', '0', '--log-limit', '1000000']);
  await small.becomeUser('log');
  const shell = await buildBase(small, 'log/base');
  const lines = 100_000;
  const repository = 'log/over-the-limit';
  // The engine reads the two outputs of a step apart, so one may come into the middle of the other's line.
  const { id } = await dockerfileBuild(
    small,
    repository,
    `FROM ${shell}\nRUN for i in $(seq 1 ${lines}); do echo "line $i of many, with some text behind it"; done; sleep 1; echo the last word >&2; exit 7\n`,
  );
  const live = await readEvents(small, repository, id);
  const { view } = await outcomeOf(small, repository, id);
  expect([view.phase, view.error_code]).toEqual(['error', 'builderror']);
  const log = await readLog(small, repository, id);
  const text = await download(small, repository, id);
  expect(text.length).toBeGreaterThan(500_000);
  expect(text.length).toBeLessThan(1_300_000);
  expect(textOf(log)).toBe(text.toString());
  // Who followed has the same log, every position once.
  expect(live.ended).toBe(true);
  expect(live.entries).toEqual(log);
  const shown = [...textOf(log).matchAll(/^line (\d+) of many/gm)].map(([, number]) => Number(number));
  expect(shown[0]).toBe(1);
  expect(shown.at(-1)).toBe(lines);
  const note = log.find(({ data }) => data?.leftOutLines !== undefined);
  expect(note?.message).toMatch(/^\d+ bytes in \d+ lines were left out here/);
  // A line that came slowly is in pieces, which are counted, and may be cut in two by the gap.
  expect(Math.abs(Number(note?.data?.leftOutLines) - (lines - shown.length))).toBeLessThan(5);
  const kept = new Set(shown);
  let bytes = 0;
  for (let index = 1; index <= lines; index += 1)
    if (!kept.has(index)) bytes += `line ${index} of many, with some text behind it`.length + 1;
  // A chunk counts the newlines between its lines, not the one behind its last.
  expect(Math.abs(Number(note?.data?.leftOutBytes) - bytes)).toBeLessThan(1_000);
  const whole = textOf(log);
  expect(whole).toMatch(/^the last word$/m);
  expect(whole.indexOf('were left out here')).toBeLessThan(whole.lastIndexOf('the last word\n'));
  expect(log.at(-1)?.message).toBe('error');
});

async function memory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

const mib = (bytes: number) => Math.round(bytes / 1024 ** 2);
