import type { Socket } from 'node:net';
import type { ConnectionError } from 'fastify';
import { type ApiErrorCode, errorBody } from './api-error.ts';

/** Answers what is not HTTP, or comes too slowly to be a request; the connection ends with it. */
export function answerClientError(error: ConnectionError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [line, code, message] = answerTo(error.code);
  const body = JSON.stringify(errorBody(code, message));
  socket.end(
    `HTTP/1.1 ${line}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function answerTo(code: string): readonly [line: string, code: ApiErrorCode, message: string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return [
        '431 Request Header Fields Too Large',
        'invalid_request',
        'The headers are larger than 16 KiB.',
      ];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [
        '408 Request Timeout',
        'invalid_request',
        'The headers did not come in time. Send them at once.',
      ];
    default:
      return ['400 Bad Request', 'invalid_request', 'That is not a request of HTTP/1.1.'];
  }
}
