// Checks of the MPI module that need real ranks: mpirun -n P mpi-checks CASE…
//
// Several cases run one after the other in one job, since to start a job takes longer than most of
// them.

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

let names = CommandLine.arguments.dropFirst()
guard !names.isEmpty, names.allSatisfy({ cases[$0] != nil }) else {
  fail("usage: mpi-checks CASE…, of \(cases.keys.sorted().joined(separator: " "))", code: 64)
}

var running = ""
do {
  try withMPI { world in
    for name in names {
      running = name
      guard let run = cases[name] else { continue }
      if names.count == 1 { return try run(Check(world), world) }
      // Cases that share a job have a world of their own, whose traffic starts at zero.
      let own = try world.duplicate()
      try run(Check(own), own)
      try own.barrier()
    }
  }
} catch {
  fail("\(running): \(error)", code: 1)
}

/// Ends this process with a line on standard error, written at once so that ranks do not mix.
func fail(_ sentence: String, code: CInt) -> Never {
  var line = sentence + "\n"
  line.withUTF8 { _ = unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(code)
}
