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

  /// The operator that carries the state, for sequences of so many tokens each.
  ///
  /// - Parameter hasState: whether tokens have come before them.
  func scan(_ sequences: Int, tokens: Int, hasState: Bool) -> StateScan

  /// Of how many tokens before its own a rank needs rows, and how many numbers of each; for every
  /// time that it needs some.
  var halos: [(rows: Int, columns: Int)] { get }

  /// Adds what the layer makes of rows to them, called by all ranks together.
  ///
  /// - Parameters:
  ///   - rows: `[sequences, tokens, width]`, of this rank's tokens.
  ///   - sequences: which have as many tokens each, and nothing to do with each other.
  ///   - state: of all of them before their first tokens; nil for nothing.
  ///   - blocks: what multiplies, a chunk at a time.
  ///   - line: the ranks, which hold tokens in their order.
  /// - Returns: the state after the last tokens, on the rank that holds them.
  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, from state: MixerTensors?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensors
}

extension StateLayer {
  /// Bytes of all matrices, as they are stored.
  var weightBytes: Int { matrices.byteCount }

  /// What ranks exchange for a sequence.
  func exchanges(tokens: Int, ranks: Int, threads: Int) -> [MixerExchange] {
    halos.map { .halo(rows: $0.rows, floats: $0.columns) }
      + scan(1, tokens: tokens, hasState: false).exchanges(ranks: ranks, threads: threads)
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

extension MixerTensors {
  /// States of several sequences, as of one batch; nil if there are none.
  init?(joining all: [MixerTensors?]) {
    let states = all.compactMap { $0 }
    precondition(states.isEmpty || states.count == all.count, "sequences with states and without")
    guard let first = states.first else { return nil }
    self.init()
    for (name, tensor) in first.all {
      let joined = MixerTensor(zeros: tensor.form.batch(of: all.count), tokens: 0)
      for (index, state) in states.enumerated() {
        let source = state[name]
        joined.write(index * source.count..<(index + 1) * source.count) { target in
          for place in 0..<target.count { target[place] = source.span[place] }
        }
      }
      add(joined)
    }
  }

  /// Those of each sequence of a batch.
  func parts(_ sequences: Int) -> [MixerTensors] {
    if sequences == 1 { return [self] }
    return (0..<sequences).map { index in
      var part = MixerTensors()
      for (_, tensor) in all {
        let single = MixerTensor(zeros: tensor.form.batch(of: 1), tokens: 0)
        let first = index * single.count
        single.write(0..<single.count) { target in
          for place in 0..<target.count { target[place] = tensor.span[first + place] }
        }
        part.add(single)
      }
      return part
    }
  }
}

extension TensorForm {
  /// The same for another number of sequences, the first dimension.
  fileprivate func batch(of sequences: Int) -> TensorForm {
    TensorForm(name: name, dimensions: dimensions, sizes: [sequences] + sizes.dropFirst())
  }
}
