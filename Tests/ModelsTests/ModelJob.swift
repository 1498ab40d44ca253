import Foundation
import TestSupport
import Testing

/// Runs `gyre` on some ranks.
func gyre(_ arguments: [String], ranks: Int) async throws -> CommandResult {
  try await MPIJob.run(program: "gyre", arguments: arguments, ranks: ranks)
}

/// The report of a run, which has to have succeeded.
func json(_ result: CommandResult) throws -> [String: Any] {
  try #require(result.isSuccess, "\(result)")
  let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
  return try #require(object as? [String: Any])
}
