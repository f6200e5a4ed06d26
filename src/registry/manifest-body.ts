import type { Readable } from 'node:stream';

/** A stream's bytes, unless there are more than `limit`, or it ends before its time. */
export async function readBody(
  stream: Readable,
  limit: number,
): Promise<Buffer | 'too-large' | 'broken-off'> {
  const chunks: Buffer[] = [];
  let length = 0;
  return await new Promise((resolve) => {
    const settle = (result: Buffer | 'too-large' | 'broken-off') => {
      stream.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer) => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > limit) settle('too-large');
    };
    const onEnd = () => settle(Buffer.concat(chunks));
    const onClose = () => settle('broken-off');
    // The stream keeps its error listener: an error after the answer must not end the process.
    stream.on('data', onData).once('end', onEnd).once('close', onClose).on('error', onClose);
  });
}
