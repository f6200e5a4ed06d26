// biome-ignore-all lint/suspicious/noTemplateCurlyInString: templates of tags are what is tested.
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { parseTag } from '../model/tag.ts';
import { semverLadder } from './semver-ladder.ts';
import { faultsOfTemplates, type TaggedMetadata, tagsOf } from './tags.ts';

const plain = { tag_templates: [], default_tag_from_ref: true, latest_for_default_branch: true };
const commit = 'c0ffee0123456789c0ffee0123456789c0ffee01';
const onMain: TaggedMetadata = {
  commit,
  ref: 'refs/heads/main',
  default_branch: 'main',
  commit_info: {
    url: 'https://example.com/c',
    message: 'Message',
    date: '2026-01-02T03:04:05Z',
    author: { username: 'ann' },
    committer: { username: 'bob' },
  },
};

describe('tags of a build', () => {
  it.each<[string, TaggedMetadata, Partial<typeof plain & { semver_tags: boolean }>, string[]]>([
    ['the default branch is latest as well', onMain, {}, ['latest', 'main']],
    ['another branch is not', { ...onMain, ref: 'refs/heads/dev' }, {}, ['dev']],
    ['a branch with slashes is escaped', { ...onMain, ref: 'refs/heads/feature/x' }, {}, ['feature_x']],
    [
      'a tag that is named like the default branch is not latest',
      { ...onMain, ref: 'refs/tags/main' },
      {},
      ['main'],
    ],
    [
      'without any rule it is the short commit',
      onMain,
      { default_tag_from_ref: false, latest_for_default_branch: false },
      ['c0ffee0'],
    ],
    ['a commit without ref too', { commit }, {}, ['c0ffee0']],
    ['a pull request too', { commit, ref: 'refs/pull/7/head' }, {}, ['c0ffee0']],
    [
      'a version gives its ladder when that is asked for',
      { commit, ref: 'refs/tags/v1.2.3' },
      { semver_tags: true },
      ['1', '1.2', '1.2.3', 'v1.2.3'],
    ],
    ['and does not otherwise', { commit, ref: 'refs/tags/v1.2.3' }, {}, ['v1.2.3']],
    [
      'a branch that looks like a version gives none',
      { commit, ref: 'refs/heads/v1.2.3' },
      { semver_tags: true },
      ['v1.2.3'],
    ],
    [
      'a branch at its newest commit, whatever that is',
      { ref: 'refs/heads/dev' },
      { default_tag_from_ref: false },
      ['dev'],
    ],
    ['nothing at all is latest', {}, {}, ['latest']],
  ])('%s', (_name, metadata, rules, expected) => {
    expect(tagsOf(metadata, { ...plain, ...rules })).toEqual(expected);
  });

  it.each([
    ['${commit}', [commit]],
    ['${parsed_ref.branch}', ['main']],
    ['${parsed_ref.tag}', ['c0ffee0']],
    ['${parsed_ref.remote}', ['c0ffee0']],
    ['${commit_info.short_sha}', ['c0ffee0']],
    ['${commit_info.date}', ['2026-01-02T03_04_05Z']],
    ['${commit_info.author.username}', ['ann']],
    ['${commit_info.committer.username}', ['bob']],
    ['${committer.properties.username}', ['bob']],
    ['b-${parsed_ref.branch}-${ commit_info.short_sha }', ['b-main-c0ffee0']],
    ['fixed', ['fixed']],
    ['${commit_info.author.missing}', ['c0ffee0']],
    ['${commit_info.author}', ['c0ffee0']],
    ['${constructor.name}', ['c0ffee0']],
    ['${__proto__.x}', ['c0ffee0']],
    ['${commit', ['c0ffee0']],
    ['${}', ['c0ffee0']],
    ['${a b}', ['c0ffee0']],
  ])('template %s', (template, expected) => {
    const rules = {
      tag_templates: [template],
      default_tag_from_ref: false,
      latest_for_default_branch: false,
    };
    expect(tagsOf(onMain, rules)).toEqual(expected);
  });

  it('says what is wrong with templates', () => {
    expect(faultsOfTemplates(['${commit}', '${commit', '${}', '', 'x'.repeat(2_000)])).toHaveLength(4);
  });

  it('gives valid tags, sorted, none twice, for whatever metadata', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom('$(rm -rf /)', 'a;b', 'x\ny', '🚀', 'é'.repeat(250), '-x', '.x', ''),
    );
    const ref = fc.tuple(
      fc.constantFrom('refs/heads/', 'refs/tags/', 'refs/remotes/', 'refs/pull/', ''),
      text,
    );
    const metadata = fc.record(
      {
        commit: text,
        ref: ref.map((parts) => parts.join('')),
        default_branch: text,
        git_url: text,
        commit_info: fc.anything() as fc.Arbitrary<never>,
      },
      { requiredKeys: [] },
    );
    const templates = fc.array(
      fc.oneof(
        text,
        fc.constantFrom(
          '${commit}',
          '${parsed_ref.branch}',
          '${commit_info.author.username}',
          '${commit_info.message}',
        ),
        text.map((path) => `\${${path}}`),
      ),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(
        metadata,
        templates,
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (given, tag_templates, default_tag_from_ref, latest_for_default_branch, semver_tags) => {
          const tags = tagsOf(given, {
            tag_templates,
            default_tag_from_ref,
            latest_for_default_branch,
            semver_tags,
          });
          expect(tags.length).toBeGreaterThan(0);
          expect(tags.length).toBeLessThanOrEqual(100);
          expect(tags.every((tag) => parseTag(tag) === tag)).toBe(true);
          expect(new Set(tags).size).toBe(tags.length);
          expect([...tags].sort()).toEqual(tags);
        },
      ),
      { numRuns: 200 },
    );
  });
});

test.each([
  ['v1.2.3', ['1.2.3', '1.2', '1']],
  ['10.0.2', ['10.0.2', '10.0', '10']],
  ['v0.4.1', ['0.4.1', '0.4']],
  ['1.2.3-rc.1', ['1.2.3-rc.1']],
  ['1.2.3+build5', ['1.2.3', '1.2', '1']],
  ['v1.2', []],
  ['01.2.3', []],
  ['release-1.2.3', []],
  ['', []],
])('the versions of %s', (tag, expected) => {
  expect(semverLadder(tag)).toEqual(expected);
});

it('has the tags that nobody wrote a template for, however many templates there are', () => {
  const tags = tagsOf(
    { commit: 'a'.repeat(40), ref: 'refs/heads/main', default_branch: 'main' },
    {
      tag_templates: Array.from({ length: 100 }, (_, index) => `t${index}`),
      default_tag_from_ref: true,
      latest_for_default_branch: true,
    },
  );
  expect(tags).toHaveLength(100);
  expect(tags).toEqual(expect.arrayContaining(['latest', 'main', 't0']));
});
