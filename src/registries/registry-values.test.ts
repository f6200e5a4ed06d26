import { expect, test } from 'vitest';
import type { NewRegistry } from './external-registry.ts';
import { RegistriesError } from './registries-error.ts';
import { checkValues } from './registry-values.ts';

const quay: NewRegistry = {
  namespace: 'team',
  name: 'quay',
  host: 'quay.example:8443',
  insecure: false,
  prefix: 'acme/images',
  username: 'acme+robot',
  password: 'the password',
  push: true,
  pull: true,
};

function failure(values: NewRegistry): RegistriesError {
  try {
    checkValues(values);
  } catch (thrown) {
    if (thrown instanceof RegistriesError) return thrown;
  }
  throw new Error('no RegistriesError');
}

test('what registries have passes', () => {
  checkValues(quay);
  checkValues({ ...quay, host: 'localhost', prefix: '', username: '$oauthtoken', pull: false });
  checkValues({ ...quay, host: '[::1]:5000' });
});

test.each([
  [{ name: 'Quay' }, 'name'],
  [{ host: 'https://quay.example' }, 'host'],
  [{ host: 'quay.example/team' }, 'host'],
  [{ host: 'quay.example:99999' }, 'host'],
  [{ prefix: '/team' }, 'path'],
  [{ prefix: 'Team' }, 'path'],
  [{ username: 'a:b' }, 'user name'],
  [{ password: 'a\nb' }, 'password'],
  [{ push: false, pull: false }, 'push, pull'],
  [{ ca: 'no certificate' }, 'PEM'],
  [{ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, 'cannot be read'],
])('%j is refused', (values, words) => {
  const error = failure({ ...quay, ...values });
  expect(error.code).toBe('bad-value');
  expect(error.message).toContain(words);
  expect(error.message).not.toContain('a\nb');
});
