import KernelSets
import MPI
import Mixers
import Tensors

/// A layer that carries a state along the sequence, where attention keeps keys and values.
protocol StateLayer: Sendable {
  /// All of them.
  var matrices: [StoredMatrix] { get }

  /// Numbers of its state, however long the sequence is.
  var stateCount: Int { get }

  /// Numbers of a token that are there for all tokens of a rank at a time.
  var rowWidth: Int { get }

  /// Floating-point operations of a token beside the products.
  var scanWork: Int { get }

  /// The operator that carries the state, for a sequence of so many tokens.
  ///
  /// - Parameter hasState: whether tokens have come before it.
  func scan(tokens: Int, hasState: Bool) -> StateScan

  /// Of how many tokens before its own a rank needs rows, and how many numbers of each; for every
  /// time that it needs some.
  var halos: [(rows: Int, columns: Int)] { get }

  /// Adds what the layer makes of rows to them, called by all ranks together.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, width]`, of this rank's tokens.
  ///   - state: before the first token of the sequence; nil for nothing.
  ///   - blocks: what multiplies, a chunk at a time.
  ///   - line: the ranks, which hold tokens in their order.
  /// - Returns: the state after the last token, on the rank that holds it.
  func run(
    _ rows: inout MutableSpan<Float>, from state: MixerTensors?, _ blocks: DecoderBlocks,
    on line: RankLine
  ) throws(MPIError) -> MixerTensors
}

extension StateLayer {
  /// Bytes of all matrices, as they are stored.
  var weightBytes: Int { matrices.byteCount }

  /// What ranks exchange for a sequence.
  func exchanges(tokens: Int, ranks: Int, threads: Int) -> [MixerExchange] {
    halos.map { .halo(rows: $0.rows, floats: $0.columns) }
      + scan(tokens: tokens, hasState: false).exchanges(ranks: ranks, threads: threads)
  }

  /// Floating-point operations for one token.
  var work: Int { scanWork + matrices.work }
}

/// The states of all layers after some tokens.
struct LayerStates {
  /// How many tokens they have met.
  private(set) var tokens = 0
  /// One for each layer; none before any token.
  private var layers: [MixerTensors] = []

  /// The state of a layer; nil before any token.
  subscript(layer: Int) -> MixerTensors? { layers.isEmpty ? nil : layers[layer] }

  /// Those of all layers, which have met so many tokens.
  init(_ layers: [MixerTensors] = [], tokens: Int = 0) {
    (self.layers, self.tokens) = (layers, tokens)
  }

  /// Gives all ranks what one has, called by all of them together.
  mutating func share(from owner: Int, on world: borrowing Communicator) throws(MPIError) {
    if world.size == 1 { return }
    for index in layers.indices {
      var all = MixerTensors()
      for (_, tensor) in layers[index].all {
        var numbers = AlignedBuffer<Float>(zeros: tensor.count)
        var span = numbers.mutableSpan
        for place in 0..<tensor.count { span[place] = tensor.span[place] }
        try world.broadcast(&span, from: owner)
        let shared = MixerTensor(zeros: tensor.form, tokens: 0)
        shared.write(0..<shared.count) { target in
          for place in 0..<target.count { target[place] = span[place] }
        }
        all.add(shared)
      }
      layers[index] = all
    }
  }
}
