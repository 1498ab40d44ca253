import MPI
import Mixers

/// An operator of module Mixers in a layer.
struct StateScan {
  private let mixer: any Mixer

  /// As ``gyre mix`` calls it.
  var name: String { type(of: mixer).name }

  /// Takes the operator of a name and the sizes of one sequence.
  ///
  /// - Precondition: there is such an operator, and it computes such a problem.
  init(
    _ name: String, _ sizes: [String: Int], present: Set<String>,
    options: MixerOptions = MixerOptions()
  ) {
    guard let type = MixerCatalog.named(name) else { preconditionFailure("no operator \(name)") }
    do throws(MixerError) {
      mixer = try type.init(MixerSizes(sizes), present: present, options: options)
    } catch {
      preconditionFailure(error.description)
    }
  }

  /// What ranks exchange.
  func exchanges(ranks: Int, threads: Int) -> [MixerExchange] {
    mixer.exchanges(backward: false, ranks: ranks, threads: threads)
  }

  /// Computes a rank's tokens, called by all ranks together.
  ///
  /// - Returns: `o`, and on the rank with the last token the `state` after it.
  func run(_ inputs: MixerTensors, on line: RankLine) throws(MPIError) -> MixerTensors {
    try mixer.forward(inputs, keeping: false, on: line).outputs
  }
}
