import t from 'tap';
import { ERROR_CODES, RegistryError, type ErrorCode } from '../../src/oci/error-codes.ts';

void t.test('every code has an error status and says something', async (t) => {
  for (const [code, { status, message }] of Object.entries(ERROR_CODES)) {
    t.ok(status >= 400 && status <= 599, code);
    t.not(message, '', code);
    const error = new RegistryError(code as ErrorCode);
    t.equal(error.message, message);
    t.equal(error.detail, undefined);
  }
  t.equal(ERROR_CODES.BLOB_UNKNOWN.status, 404, 'docker repeats a blob that is a 5xx for 75 seconds');
});

void t.test('the detail is for the client, the cause is not', async (t) => {
  const cause = new Error('connect ECONNREFUSED 10.0.0.1:443');
  const error = new RegistryError('UNAVAILABLE', 'try again', { cause });
  t.equal(error.message, 'try again');
  t.equal(error.detail, 'try again');
  t.equal(error.cause, cause);
});
