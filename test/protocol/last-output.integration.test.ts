import { expect, test } from 'vitest';
import { openRig } from './rig.ts';

test('what a worker printed last is told without its token, in the fault and in the log', async () => {
  const tokens: string[] = [];
  await using rig = await openRig({
    settings: { retryDelay: 20 },
    worker: {
      work: async ({ token, server }) => {
        tokens.push(token);
        return { exitCode: 2, output: `panic: cannot dial\nTOKEN=${token} SERVER=${server}` };
      },
    },
  });
  const build = await rig.final(await rig.enqueue({ push: false }));
  expect(tokens).toHaveLength(3);
  expect(build.fault?.message).toContain(`panic: cannot dial\nTOKEN=*** SERVER=${rig.host}`);
  const shown = JSON.stringify(build);
  for (const token of tokens) {
    for (const part of token.split('.').slice(1)) expect(shown).not.toContain(part);
  }
});
