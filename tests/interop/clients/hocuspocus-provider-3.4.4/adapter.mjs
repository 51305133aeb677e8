import * as Y from 'yjs'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { WebSocket } from 'ws'
import { hocuspocus } from '../hocuspocus.mjs'

export default { ...hocuspocus({ Y, HocuspocusProvider, HocuspocusProviderWebsocket }), WebSocket }
