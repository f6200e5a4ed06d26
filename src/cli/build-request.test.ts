import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePairs, readSecrets } from './build-request.ts';

describe('parsePairs', () => {
  it('parts a name from its value at the first equals sign', () => {
    expect(parsePairs('--build-arg', ['A=1', 'B=x=y', 'C=', 'A=2'])).toEqual({ A: '2', B: 'x=y', C: '' });
    expect(parsePairs('--label', undefined)).toEqual({});
  });

  it('takes names that objects have of their own', () => {
    expect(Object.entries(parsePairs('--label', ['__proto__=1', 'constructor=2']))).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
    ]);
  });

  it.each(['A', '=1', ''])('refuses %j', (pair) => {
    expect(() => parsePairs('--build-arg', [pair])).toThrow(
      expect.objectContaining({ name: 'CliError', code: 'usage' }),
    );
  });
});

describe('readSecrets', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-secrets-'));
    await writeFile(join(folder, 'to=ken'), Buffer.from([0, 255, 10]));
  });
  afterAll(async () => await rm(folder, { recursive: true }));

  it('reads files relative to where the command runs, as base64', async () => {
    expect(await readSecrets(folder, ['id=a,src=to=ken', `id=b,source=${folder}/to=ken`])).toEqual({
      a: 'AP8K',
      b: 'AP8K',
    });
  });

  it.each(['id=a', 'src=x', 'a', 'id=,src=x', ''])('refuses %j', async (spec) => {
    await expect(readSecrets(folder, [spec])).rejects.toMatchObject({ name: 'CliError', code: 'usage' });
  });

  it('says which file cannot be read', async () => {
    await expect(readSecrets(folder, ['id=a,src=missing'])).rejects.toMatchObject({ code: 'local' });
  });
});
