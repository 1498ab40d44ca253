// Checks of the MPI module that need real ranks: mpirun -n P mpi-checks CASE

import Glibc
import MPI

/// A case by name; each runs on every rank, for any number of ranks unless its test says otherwise.
let cases: [String: (Check, borrowing Communicator) throws -> Void] = [
  "ring": ring,
  "self-send": selfSend,
  "messages": messages,
  "size-mismatch": sizeMismatch,
  "deadline": deadline,
  "broadcast": broadcast,
  "reduce": reduce,
  "scan": scan,
  "operators": operators,
  "gather": gather,
  "all-gather": allGather,
  "all-to-all": allToAll,
  "groups": groups,
  "nodes": nodes,
  "agreement": agreement,
  "environment": environment,
  "parameters": parameters,
  "peer-memory": peerMemory,
  "windows": windows,
  "large-window": largeWindow,
  "counters": counters,
  "counter-waits": counterWaits,
  "no-room": noRoom,
  "full-folder": fullFolder,
  "unfreed-windows": unfreedWindows,
  "fails": fails,
  "fails-together": failsTogether,
  "throws-alone": throwsAlone,
  "throws-with-windows": throwsWithWindows,
  "throws-together-with-windows": throwsTogetherWithWindows,
  "exits-alone": exitsAlone,
  "killed-alone": killedAlone,
  "aborts": aborts,
  "hangs": hangs,
  "drops-send": dropsSend,
  "drops-receive": dropsReceive,
  "drops-after-error": dropsAfterError,
  "unreceived": unreceived,
  "stuck-exchange": stuckExchange,
]

guard CommandLine.arguments.count == 2, let run = cases[CommandLine.arguments[1]] else {
  fail("usage: mpi-checks CASE, one of \(cases.keys.sorted().joined(separator: " "))", code: 64)
}

do {
  try withMPI { world in try run(Check(world), world) }
} catch {
  fail("\(CommandLine.arguments[1]): \(error)", code: 1)
}

/// Ends this process with a line on standard error, written at once so that ranks do not mix.
func fail(_ sentence: String, code: CInt) -> Never {
  var line = sentence + "\n"
  line.withUTF8 { _ = unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(code)
}
