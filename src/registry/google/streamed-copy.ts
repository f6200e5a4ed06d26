import { type Answer, document, escapeXml, isFine, readAnswer, refusal } from './answer.ts';
import type { BucketClient } from './bucket-client.ts';
import { objectTarget } from './object-target.ts';
import { unsignedPayload } from './signature.ts';

export interface Copy {
  readonly bucket: string;
  /** Key of the object that is read. */
  readonly source: string;
  /** Value of a Range header; absent: all of it. */
  readonly range?: string;
  /** Where it goes: an object, or a part of an upload. */
  readonly target: string;
  readonly contentType?: string;
}

/** Copies by reading and writing, a few buffers at a time; for copies that Google does not do by itself. */
export async function streamedCopy(client: BucketClient, copy: Copy, signal: AbortSignal): Promise<Answer> {
  const { bucket, source, range, target, contentType } = copy;
  const read = await client.send(
    {
      method: 'GET',
      target: objectTarget(bucket, source),
      headers: range === undefined ? {} : { range },
    },
    signal,
  );
  if (read.statusCode !== (range === undefined ? 200 : 206)) {
    const answer = await readAnswer(read);
    return isFine(answer)
      ? refusal(502, 'InternalError', `Google answered with all of an object instead of ${range}.`)
      : answer;
  }
  const length = read.headers['content-length'];
  try {
    if (length === undefined)
      return refusal(
        502,
        'InternalError',
        'Google did not tell how long an object is that was to be copied.',
      );
    const headers = {
      'content-length': length,
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
    };
    const written = await client.send(
      { method: 'PUT', target, headers, body: read, payloadHash: unsignedPayload },
      signal,
    );
    const answer = await readAnswer(written);
    return isFine(answer) ? copied(target, written.headers.etag) : answer;
  } finally {
    read.destroy();
  }
}

function copied(target: string, etag = ''): Answer {
  const name = /[?&]partNumber=/.test(target) ? 'CopyPartResult' : 'CopyObjectResult';
  return document(200, `<${name}><ETag>${escapeXml(etag)}</ETag></${name}>`);
}
