import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkDockerfile, maximumDockerfileBytes, readDockerfile } from './dockerfile-check.ts';
import { cutAfterStage } from './dockerfile-target.ts';
import { EngineError } from './engine-error.ts';

const old = { title: 'buildah 1.28.2', features: { heredoc: false } };
const modern = { title: 'buildah 1.41.0', features: { heredoc: true } };
const check = (text: string | Buffer, engine = old) => checkDockerfile(Buffer.from(text), engine);

function refusal(text: string | Buffer, engine = old): EngineError {
  try {
    check(text, engine);
  } catch (thrown) {
    if (thrown instanceof EngineError) return thrown;
    throw thrown;
  }
  throw new Error('it was accepted');
}

describe('checking a Dockerfile', () => {
  it.each<[string | Buffer, RegExp]>([
    ['', /is empty/],
    ['\n# only\n\n', /no instruction/],
    ['RUN true\n', /no FROM/],
    ['ARG a=1\n', /no FROM/],
    ['ENV a=1\nFROM x\n', /Line 1 .*ENV stands before FROM/],
    ['FROM\n', /Line 1 .*FROM needs an argument/],
    ['FROM --platform=linux/arm64\n', /Line 1 .*name of an image/],
    ['FROM a\n\nCPOY a b\n', /Line 3 .*CPOY\. Did you mean COPY\?/],
    ['FROM a\nfrobnicate x\n', /Line 2 .*frobnicate\.$/],
    ['FROM a\n\u001b[31mRED x\n', /Line 2 .*\ufffd\[31mRED/],
    ['FROM a\nRUN a\0b\n', /NUL byte in line 2/],
    [Buffer.from('\ufeffFROM a\n', 'utf16le'), /UTF-16.*UTF-8/],
    [Buffer.from('FROM a\nRUN b\n', 'utf16le'), /UTF-16/],
    [Buffer.from('\ufeffFROM a\n', 'utf16le').swap16(), /UTF-16/],
    [Buffer.from('FROM a\nRUN b\n', 'utf16le').swap16(), /UTF-16/],
    ['FROM a\nRUN <<EOF\nls\nEOF\n', /Line 2 .*buildah 1\.28\.2 cannot do; buildah 1\.33/],
    ['FROM a\nCOPY <<EOF /x\nls\n', /here-document/],
    ['FROM a\nONBUILD RUN <<EOF\nfrobnicate\nEOF\n', /Line 2 .*ONBUILD <<EOF is a here-document/],
    ['FROM dir:/etc\n', /"dir:"/],
    ['FROM --platform=linux/amd64 containers-storage:abc AS x\n', /"containers-storage:"/],
    [Buffer.alloc(maximumDockerfileBytes + 1, '#'), /1048577 bytes.*1 MiB/],
  ])('refuses %j', (text, words) => {
    const error = refusal(text);
    expect(error.code).toBe('dockerfileissue');
    expect(error.message).toMatch(words);
  });

  it('takes the here-documents of what is carried out later for what they are', () => {
    const text = 'FROM a\nONBUILD RUN <<EOF\nfrobnicate\nEOF\n';
    expect(check(text, modern).instructions.map(({ keyword }) => keyword)).toEqual(['FROM', 'ONBUILD']);
    expect(check('FROM a\nONBUILD RUN cat <<EOF\n', modern).instructions).toHaveLength(2);
  });

  it('accepts what every engine can do', () => {
    const facts = check(
      '\ufeffARG v=1\nFROM docker.io/library/debian:$v AS base\nRUN cat <<EOF && echo $((1<<2))\nADD https://example.org/x.tar /x\nADD git://example.org/a.git /a\nFROM base\nFROM scratch\nfrom b\nONBUILD RUN true\n',
    );
    expect(facts.baseImages).toEqual(['docker.io/library/debian:$v', 'b']);
  });

  it('lets a newer engine have its here-documents', () => {
    expect(check('FROM a\nRUN <<EOF\nls\nEOF\n', modern).instructions).toHaveLength(2);
    expect(refusal('FROM a\nCOPY <<EOF /x\nls\n', modern).message).toMatch(/Line 2 .*not ended/);
  });

  it('refuses a large file by its size, without reading it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'slipway-dockerfile-'));
    try {
      const path = join(folder, 'Dockerfile');
      await writeFile(path, '');
      // Sparse: reading it would fill the memory.
      await truncate(path, 1024 ** 4);
      await expect(readDockerfile(path, old)).rejects.toMatchObject({ code: 'dockerfileissue' });
      await expect(readDockerfile(join(folder, 'none'), old)).rejects.toMatchObject({
        code: 'dockerfileissue',
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('throws nothing but its own error, for any bytes', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          'FROM a\n',
          'RUN ',
          '<<EOF',
          '\nEOF\n',
          '\\\n',
          '#',
          '\t',
          '"',
          "'",
          '\r\n',
          'COPY --from=x ',
          '# escape=`\n',
          '`',
        )
        .map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom(old, modern), (pieces, engine) => {
        try {
          checkDockerfile(Buffer.concat(pieces), engine);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(EngineError);
          expect(thrown).toMatchObject({ code: 'dockerfileissue' });
        }
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['flags', 'FROM a\nRUN ', '--a=b '],
    ['here-documents', 'FROM a\n', 'RUN <<E\n'],
    ['here-documents in one line', 'FROM a\nRUN ', '<<E '],
    ['continuations', 'FROM a\nRUN a ', '\\\n'],
    ['comments', '', '#\n'],
    ['spaces', 'FROM a\nRUN', ' '],
    ['spaces before AS', 'FROM a', ' AS'],
    ['quotes', 'FROM a\nRUN <<E ', '"\\'],
    ['stages', '', 'FROM a AS b\n'],
    ['one word', 'FROM a\n', 'R'],
  ])('takes linear time for a megabyte of %s', (_what, start, part) => {
    const text = (start + part.repeat(maximumDockerfileBytes)).slice(0, maximumDockerfileBytes);
    const begun = process.cpuUsage();
    try {
      check(text, modern);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(EngineError);
    }
    // Quadratic time for a megabyte is minutes.
    expect(process.cpuUsage(begun).user / 1000).toBeLessThan(5000);
  });
});

describe('cutting after a stage', () => {
  const facts = check('FROM a AS one\nRUN x\n# note\nFROM b AS Two\nRUN y\nFROM one\n');

  it.each([
    ['one', 'FROM a AS one\nRUN x\n# note'],
    ['0', 'FROM a AS one\nRUN x\n# note'],
    ['two', 'FROM a AS one\nRUN x\n# note\nFROM b AS Two\nRUN y'],
    ['2', undefined],
    ['none', undefined],
  ])('keeps what stage %s needs', (target, text) => {
    expect(cutAfterStage(facts, target)).toBe(text);
  });
});
