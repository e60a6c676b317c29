import t from 'tap'
import { aDataDir } from '../support/keyturn.ts'
import { usersImportSuite } from './users-import.ts'

t.test('embedded', { timeout: 110_000 }, (t) => usersImportSuite(t, async (t) => ({ DATA_DIR: aDataDir(t) })))
