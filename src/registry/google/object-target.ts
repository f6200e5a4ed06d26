/** The path of an object on the wire; every byte encoded that the signature of S3 wants encoded. */
export function objectTarget(bucket: string, key: string): string {
  return `/${encodeOnce(bucket)}/${key.split('/').map(encodeOnce).join('/')}`;
}

function encodeOnce(segment: string): string {
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The key that `x-amz-copy-source` names, when it is of that bucket. */
export function copySource(header: string, bucket: string): string | undefined {
  const path = header.replace(/^\//, '');
  if (!path.startsWith(`${bucket}/`) || path.includes('?')) return undefined;
  try {
    return decodeURIComponent(path.slice(bucket.length + 1));
  } catch {
    return undefined;
  }
}
