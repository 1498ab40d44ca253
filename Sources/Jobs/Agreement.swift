package import MPI
import Reporting

/// An error that every rank knows of: the job ends in order, and one rank has said why.
package struct AgreedFailure: Error {
  /// What this rank is to print; nil if another rank does.
  package let message: String?
  /// With what every rank exits.
  package let code: Int32

  package init(message: String?, code: Int32 = 1) {
    self.message = message
    self.code = code
  }
}

extension Communicator {
  /// Runs what can fail on some ranks alone; if it fails on any, it fails on all, and the lowest
  /// rank that failed says why, with its rank where the others could have gone on.
  package func agreed<Value: ~Copyable>(_ body: () throws -> Value) throws -> Value {
    do {
      return try agree(body)
    } catch let error as MPIError {
      throw error
    } catch {
      let failed = !(error is PeerFailure)
      let failures = try allReduce(failed ? 1 : 0, with: .sum)
      let lowest = try allReduce(failed ? rank : size, with: .min)
      let code = Int32(try broadcast(Int(exitCode(of: error)), from: lowest))
      guard rank == lowest else { throw AgreedFailure(message: nil, code: code) }
      let place = failures == size ? "" : "rank \(rank) on \(MPIEnvironment.processorName): "
      throw AgreedFailure(message: "gyre: \(place)\(error)", code: code)
    }
  }

  /// Prints a report, which rank 0 makes, on its standard output; called by all ranks.
  package func printReport(_ text: @autoclosure () throws -> String) throws {
    try agreed { if rank == 0 { try Reporting.printReport(text()) } }
  }
}
