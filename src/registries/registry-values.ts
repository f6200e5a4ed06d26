import { X509Certificate } from 'node:crypto';
import { messageOf } from '../base/coded-error.ts';
import { isRegistryHost, isRepositoryPath } from '../model/image-reference.ts';
import type { NewRegistry } from './external-registry.ts';
import { RegistriesError } from './registries-error.ts';

const longestName = 63;
const namePattern = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const longestPrefix = 200;
const mostCertificates = 20;

/** Checks what was given for a registry, but for the credentials: those the registry judges. Throws `bad-value`. */
export function checkValues({ name, host, prefix, username, password, push, pull, ca }: NewRegistry): void {
  if (name.length > longestName || !namePattern.test(name))
    throw bad(
      `"${name.slice(0, longestName)}" cannot name a registry. Use 1 to ${longestName} lower-case letters and digits, parted by single . _ or -.`,
    );
  if (host.length > 255 || !isRegistryHost(host) || !URL.canParse(`https://${host}/`))
    throw bad('That is not the host of a registry. Give host or host:port, without a scheme and a path.');
  if (prefix !== '' && (prefix.length > longestPrefix || !isRepositoryPath(prefix)))
    throw bad(
      `That is not the beginning of a path in a registry. Use lower-case letters and digits, parted by . _ - or /.`,
    );
  // A colon would end the name where it is sent as Basic.
  if (username === '' || username.includes(':') || /\p{Cc}/u.test(username))
    throw bad('The user name is empty, or has a colon or a control character in it.');
  if (password === '' || /\p{Cc}/u.test(password))
    throw bad('The password is empty, or has a line break or another control character in it.');
  if (!push && !pull) throw bad('Say what the registry is for: push, pull or both.');
  if (ca !== undefined) checkAuthorities(ca);
}

/** TLS would otherwise fail much later, with words that lead nowhere. */
function checkAuthorities(pem: string): void {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (found.length === 0 || found.length > mostCertificates || pem.includes('PRIVATE KEY'))
    throw bad(
      `The certificate authorities must be 1 to ${mostCertificates} certificates in PEM form, and nothing else.`,
    );
  for (const each of found) {
    try {
      new X509Certificate(each);
    } catch (thrown) {
      throw new RegistriesError(
        'bad-value',
        `A certificate authority cannot be read (${messageOf(thrown)}).`,
        thrown,
      );
    }
  }
}

function bad(message: string): RegistriesError {
  return new RegistriesError('bad-value', message);
}
