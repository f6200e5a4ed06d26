import { DockerfileParser } from 'dockerfile-ast';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitInstructions } from './dockerfile-instructions.ts';

const split = (text: string) => splitInstructions(text).instructions;
const short = (text: string) => split(text).map(({ keyword, rest, line }) => [line, keyword, rest]);

describe('splitting a Dockerfile', () => {
  it('joins continuations and leaves out comments and blank lines in them', () => {
    expect(short('# c\nFROM a\nRUN one \\\n# inner\n\n   two \\\n three\nCMD x')).toEqual([
      [2, 'FROM', 'a'],
      [3, 'RUN', 'one two three'],
      [8, 'CMD', 'x'],
    ]);
  });

  it('follows the escape directive, only at the top', () => {
    expect(short('# escape=`\nFROM a\nRUN c:\\\nRUN x `\ny')).toEqual([
      [2, 'FROM', 'a'],
      [3, 'RUN', 'c:\\'],
      [4, 'RUN', 'x y'],
    ]);
    expect(short('# comment\n# escape=`\nFROM a\nRUN x `\nCMD y')).toHaveLength(3);
  });

  it('knows line ends of Windows', () => {
    expect(short('FROM a\r\nRUN x \\\r\n y\r\n')).toEqual([
      [1, 'FROM', 'a'],
      [2, 'RUN', 'x y'],
    ]);
  });

  it.each([
    ['RUN <<EOF\nFROBNICATE\nEOF\nCMD x', [{ delimiter: 'EOF', terminated: true }], 2],
    ['RUN cat <<-EOF > /x\nFROBNICATE\n\tEOF\nCMD x', [{ delimiter: 'EOF', terminated: true }], 2],
    ['COPY <<"A B" /x\nCMD x', [], 2],
    [
      "COPY <<'A' <<B /x/\n1\nA\n2\nB\nCMD x",
      [
        { delimiter: 'A', terminated: true },
        { delimiter: 'B', terminated: true },
      ],
      2,
    ],
    ['RUN cat <<EOF\nCMD x', [{ delimiter: 'EOF', terminated: false }], 2],
    ['RUN echo "<<EOF"\nCMD x\nEOF', [], 3],
    ['RUN echo $((1<<EOF))\nCMD x\nEOF', [], 3],
    ['RUN cat <<<EOF\nCMD x\nEOF', [], 3],
    ['ENV a=<<EOF\nCMD x\nEOF', [], 3],
    ['ONBUILD RUN <<EOF\nFROBNICATE\nEOF\nCMD x', [{ delimiter: 'EOF', terminated: true }], 2],
    ['onbuild  copy <<EOF /x\n1\nEOF\nCMD x', [{ delimiter: 'EOF', terminated: true }], 2],
    ['ONBUILD ENV a=<<EOF\nCMD x\nEOF', [], 3],
    ['ONBUILD\nCMD x', [], 2],
  ])('finds the here-documents of %j', (text, heredocs, count) => {
    const instructions = split(text);
    expect(instructions[0]?.heredocs).toEqual(heredocs);
    expect(instructions).toHaveLength(count);
  });

  it('agrees with dockerfile-ast on ordinary Dockerfiles', () => {
    const word = fc.constantFrom(
      'a',
      'b=c',
      '--flag=x',
      '"q r"',
      '["x","y"]',
      '\\\n  next',
      '\\\n# note\n  next',
      '&&',
    );
    const instruction = fc
      .tuple(
        fc.constantFrom('FROM', 'run', 'Copy', 'ENV', 'CMD'),
        fc.array(word, { minLength: 1, maxLength: 5 }),
      )
      .map(([keyword, words]) => `${keyword} ${words.join(' ')} end`);
    const line = fc.oneof(
      { weight: 5, arbitrary: instruction },
      { weight: 1, arbitrary: fc.constantFrom('', '# comment', '   ') },
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
        const text = lines.join('\n');
        const theirs = DockerfileParser.parse(text)
          .getInstructions()
          .map((each) => [each.getRange().start.line + 1, each.getInstruction()]);
        expect(split(text).map(({ line: at, keyword }) => [at, keyword])).toEqual(theirs);
      }),
    );
  });
});
