/**
 * A process with a real OpenID provider: `openid-process.ts PORT REDIRECT_URI`. Anybody can sign in under any name, which is
 * the subject. Claims: the name is `preferred_username`; what contains `unverified` has no verified address.
 */
import Provider from 'oidc-provider';

const [port = '', ...redirectUris] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'slipway',
      client_secret: 'the secret of the client',
      redirect_uris: redirectUris,
      token_endpoint_auth_method: 'client_secret_post',
    },
  ],
  claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'] },
  findAccount: (_context: unknown, id: string) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id.split('|').at(-1),
      email: `${id}@example.com`,
      email_verified: !id.includes('unverified'),
    }),
  }),
  cookies: { keys: ['a key for tests'] },
  pkce: { required: () => true },
  ttl: { AuthorizationCode: 60, IdToken: 600, AccessToken: 600, Grant: 600, Interaction: 600, Session: 600 },
});
provider.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
process.on('disconnect', () => process.exit());
