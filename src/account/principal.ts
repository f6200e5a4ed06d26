/** Who makes a request. */
export type Principal =
  | { readonly kind: 'anonymous' }
  | {
      readonly kind: 'user';
      readonly username: string;
      readonly superuser: boolean;
      readonly scopes: readonly TokenScope[] | 'all';
      /** Of the personal token that was used; absent: a password. */
      readonly tokenId?: string;
      /** When that token ends, in milliseconds since 1970; absent: never. */
      readonly tokenExpiresAt?: number;
      /** Of the browser's session that was used. */
      readonly sessionId?: string;
    }
  | { readonly kind: 'robot'; readonly name: string; readonly namespace: string };

/** What a personal token may be used for; a token has one or more. */
export type TokenScope =
  | 'repo:read'
  | 'repo:write'
  | 'repo:admin'
  | 'org:admin'
  | 'user:admin'
  | 'super:user';
