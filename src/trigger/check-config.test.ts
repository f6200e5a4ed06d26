// biome-ignore-all lint/suspicious/noTemplateCurlyInString: templates of tags are what is tested.
import { describe, expect, it } from 'vitest';
import { checkConfig, faultsOfConfig } from './check-config.ts';
import type { TriggerConfig } from './trigger-config.ts';

const url = 'git@git.example.com:team/app.git';
const custom = (given: Partial<TriggerConfig> = {}) =>
  checkConfig('custom-git', { build_source: url, ...given }, 0);

describe('a configuration', () => {
  it('is complete with its source alone', () => {
    expect(custom()).toEqual({
      build_source: url,
      dockerfile_path: '/Dockerfile',
      context: '/',
      default_tag_from_ref: true,
      latest_for_default_branch: true,
      tag_templates: [],
    });
  });

  it('has paths in one form', () => {
    expect(custom({ dockerfile_path: 'app//Dockerfile', context: 'app/' })).toMatchObject({
      dockerfile_path: '/app/Dockerfile',
      context: '/app',
    });
  });

  it.each<[string, Partial<TriggerConfig>]>([
    ['a Dockerfile that is not below the context', { dockerfile_path: '/Dockerfile', context: '/app' }],
    ['a way out of the source', { dockerfile_path: '/../Dockerfile' }],
    ['no source', { build_source: '' }],
    ['an option', { build_source: '--upload-pack=touch /tmp/x' }],
    ['a helper', { build_source: 'ext::sh -c id' }],
    ['a local path', { build_source: 'file:///etc' }],
    ['an option of ssh', { build_source: 'ssh://-oProxyCommand=id/x' }],
    ['a password', { build_source: 'https://user:secret@example.com/a.git' }],
    ['a line break', { build_source: 'https://example.com/a.git\r\nX: y' }],
    ['clear text', { build_source: 'http://example.com/a.git' }],
    ['a schedule that is none', { cron: [{ schedule: '* *', branch: 'main' }] }],
    ['a schedule without branch', { cron: [{ schedule: '0 0 * * *' }] }],
    ['a branch that is none', { cron: [{ schedule: '0 0 * * *', branch: '--x' }] }],
    ['a branch with half of a pair', { cron: [{ schedule: '0 0 * * *', branch: 'x\ud800y' }] }],
    ['a branch with a control character', { cron: [{ schedule: '0 0 * * *', branch: 'x\u0080y' }] }],
    ['an argument with half of a pair', { build_args: { A: 'x\ud800' } }],
    ['an argument with a zero byte', { build_args: { A: 'x\0' } }],
    [
      'globs that are too much together',
      { path_filters: Array.from({ length: 100 }, () => '?'.repeat(490)) },
    ],
    ['a glob that is none', { path_filters: ['{a'] }],
    ['a platform that is none', { platforms: ['linux'] }],
    ['a build argument that is none', { build_args: { 'a b': 'c' } }],
    ['too many templates', { tag_templates: Array.from({ length: 200 }, () => 'x') }],
  ])('cannot have %s', (_name, given) => {
    expect(() => custom(given)).toThrow(
      expect.objectContaining({ name: 'TriggerError', code: 'bad-config' }),
    );
  });

  it('never repeats a password', () => {
    expect(() => custom({ build_source: 'https://user:hunter2@example.com/a.git' })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') }),
    );
  });

  it.each(['owner/name', 'group/sub/name', 'o.w-n_er/na.me'])('is of %s at a host', (source) => {
    expect(checkConfig('gitlab', { build_source: source }, 0).build_source).toBe(source);
  });

  it.each(['name', '../x', 'a/b?c', 'a//b', '-a/b', 'a/../b', 'https://x/y'])(
    'is not of %s at a host',
    (source) => {
      expect(() => checkConfig('github', { build_source: source }, 0)).toThrow(
        expect.objectContaining({ code: 'bad-config' }),
      );
    },
  );

  it('may have templates and expressions that are passed over, and says so', () => {
    const given = { tag_templates: ['${', 'ok'], branchtag_regex: '(' };
    expect(custom(given)).toMatchObject(given);
    expect(faultsOfConfig(given)).toHaveLength(2);
  });
});
