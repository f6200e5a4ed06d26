import { type Answer, document, errorCode, escapeXml, isFine, refusal, unescapeXml } from './answer.ts';

/** S3 lets one request remove so many objects. */
const mostKeys = 1_000;
const atOnce = 16;

/** The keys of the body of `POST /BUCKET?delete`; undefined when it is not one, or names a version. */
export function parseMultiDelete(body: string): readonly string[] | undefined {
  const inner = /^(?:\s*<\?xml[^>]*\?>)?\s*<Delete(?: xmlns="[^"]*")?>(.*)<\/Delete>\s*$/s.exec(body)?.[1];
  if (inner === undefined) return undefined;
  const keys: string[] = [];
  const rest = inner.replace(
    /<Object>\s*<Key>([^<]+)<\/Key>\s*<\/Object>|<Quiet>(?:true|false)<\/Quiet>/g,
    (_, key?: string) => {
      if (key !== undefined) keys.push(unescapeXml(key));
      return '';
    },
  );
  return rest.trim() === '' && keys.length > 0 && keys.length <= mostKeys ? keys : undefined;
}

/**
 * Removes one object after the other, up to 16 at a time, and answers what S3 would for all of them.
 *
 * docker-registry reads nothing of that answer but its status, so an object that was not removed makes the whole answer
 * that of Google: the registry's client then repeats it, which does no harm to what is removed already.
 */
export async function multiDelete(
  keys: readonly string[],
  remove: (key: string) => Promise<Answer>,
): Promise<Answer> {
  const waiting = [...keys];
  let failed: Answer | undefined;
  const work = async () => {
    for (let key = waiting.shift(); key !== undefined; key = waiting.shift()) {
      const answer = await remove(key);
      if (isFine(answer) || (answer.status === 404 && errorCode(answer) !== 'NoSuchBucket')) continue;
      failed ??= answer;
      waiting.length = 0;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, keys.length) }, work));
  if (failed !== undefined) {
    return failed.status >= 400
      ? failed
      : refusal(502, 'InternalError', `Google answered a removal with ${failed.status}.`);
  }
  const removed = keys.map((key) => `<Deleted><Key>${escapeXml(key)}</Key></Deleted>`).join('');
  return document(
    200,
    `<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${removed}</DeleteResult>`,
  );
}
