import Compute
import Glibc
import MPI
import Models

/// The file that `GYRE_CHECK_MODEL` names.
func modelToCheck() throws -> ModelFile {
  guard let name = unsafe getenv("GYRE_CHECK_MODEL") else {
    throw CheckFailure("GYRE_CHECK_MODEL names no model")
  }
  return try ModelFile(unsafe String(cString: name))
}

/// Tokens that are taken back leave nothing: what follows is as if they had never been there.
///
/// The model is the file that `GYRE_CHECK_MODEL` names.
func checkRewinding(_ world: borrowing Communicator) throws {
  let decoder = try Decoder(try modelToCheck())
  var options = RunOptions()
  (options.team, options.chunk) = (ThreadTeam(threads: 1), 8)
  let prompt = (0..<21).map { $0 * 37 % decoder.sizes.vocabulary }
  func started(_ tokens: [Int]) throws -> Generation {
    try Generation(decoder, prompt: tokens, context: 64, options: options, on: world)
  }
  let generation = try started(prompt)
  try generation.extend(by: [7, 8, 9], on: world)
  // Among what was written, after the prompt, in the prompt, and twice without anything between.
  for (counts, new) in [([23], [5]), ([21], [3, 4]), ([9], [1]), ([8, 4], [2, 6])] {
    for count in counts { generation.rewind(to: count) }
    try generation.extend(by: new, on: world)
    let expected = try started(generation.tokens).logits
    let largest = expected.map(abs).reduce(0, max)
    let error = zip(generation.logits, expected).map { abs($0 - $1) }.reduce(0, max)
    try require(
      error < 1e-4 * largest && generation.logits.count == expected.count,
      "back to \(counts): \(error) of \(largest)")
  }
}
