const longest = 500;

/** A path of this site, or `/`: what somebody asks for must not lead a browser to another one. */
export function localPath(wanted: string | undefined): string {
  if (wanted === undefined || wanted.length > longest || !/^\/(?![/\\])[\x21-\x7e]*$/.test(wanted))
    return '/';
  const site = 'http://slipway.invalid';
  const url = URL.parse(wanted, site);
  // `/.//host` is a path that becomes `//host`, which is another site, once its dots are gone.
  if (url === null || url.origin !== site || url.pathname.startsWith('//') || wanted.includes('\\'))
    return '/';
  return `${url.pathname}${url.search}${url.hash}`;
}
