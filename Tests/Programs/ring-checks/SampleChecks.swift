import Compute
import MPI
import Models

/// Sequences that fork from a prompt and grow together are what each is when it is read at once.
///
/// The model is the file that `GYRE_CHECK_MODEL` names.
func checkForkedSequences(_ world: borrowing Communicator) throws {
  let decoder = try Decoder(try modelToCheck())
  // Fewer than rows of a chunk, and more; some leave, and where they may, some wait meanwhile.
  for (count, window) in [(5, nil), (13, 12)] where window == nil || !decoder.carriesState {
    var options = RunOptions()
    (options.team, options.chunk, options.pageTokens) = (ThreadTeam(threads: 2), 8, 16)
    (options.window, options.sinks, options.forks) = (window, window == nil ? 0 : 3, count)
    options.dividesWeights = window == nil
    func started(_ tokens: [Int]) throws -> Generation {
      try Generation(decoder, prompt: tokens, context: 64, options: options, on: world)
    }
    let prompt = try started((0..<37).map { $0 * 37 % decoder.sizes.vocabulary })
    var forks = (0..<count).map { _ in prompt.fork() }
    for step in 0..<12 {
      let growing = forks.indices.filter { decoder.carriesState || ($0 + step) % 5 > 0 }
      try Generation.extend(
        growing.map { forks[$0] },
        by: growing.map { ($0 * 91 + step * 13) % decoder.sizes.vocabulary })
      if step % 4 == 3 { forks.remove(at: step / 4).release() }
    }
    for (number, fork) in (forks + [prompt]).enumerated() {
      let expected = try started(fork.tokens).logits
      let largest = expected.map(abs).reduce(0, max)
      let error = zip(fork.logits, expected).map { abs($0 - $1) }.reduce(0, max)
      try require(
        error < 2e-5 * largest && fork.logits.count == expected.count,
        "\(count) samples, number \(number) of \(fork.tokens.count) tokens: \(error) of \(largest)")
    }
  }
}
