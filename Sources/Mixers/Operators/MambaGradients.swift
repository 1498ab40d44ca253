import Compute
import MPI
import Tensors

/// What is known of a chunk's tokens and eight channels, in scratch memory.
@safe
struct MambaChunk {
  /// `[tokens + 1, state, 8]`: before the first token and after each.
  let h: UnsafeMutablePointer<Float>
  /// `[tokens, state, 8]`.
  let decays: UnsafeMutablePointer<Float>
  /// `[tokens, state, 8]`: gradients of B, to be added up over lanes.
  let b: UnsafeMutablePointer<Float>
  /// The same of C.
  let c: UnsafeMutablePointer<Float>

  @unsafe
  init(
    h: UnsafeMutablePointer<Float>, decays: UnsafeMutablePointer<Float>,
    b: UnsafeMutablePointer<Float>, c: UnsafeMutablePointer<Float>
  ) {
    unsafe self.h = unsafe h
    unsafe self.decays = unsafe decays
    unsafe self.b = unsafe b
    unsafe self.c = unsafe c
  }

  func clearShares(_ count: Int) {
    unsafe b.update(repeating: 0, count: count)
    unsafe c.update(repeating: 0, count: count)
  }
}

/// Where the gradients of Mamba's inputs go.
///
/// All channels have a share in those of B and C: each block of channels writes its own, and they
/// are added in order, so that the bits do not depend on the number of threads.
struct MambaGradients {
  private let mixer: Mamba
  private let blocks: ChannelBlocks
  private let gradients: MixerTensors
  private let count: Int
  /// Of what goes into the scan.
  let input: MixerTensor
  let delta: MixerTensor
  let z: MixerTensor?
  /// `[2, batch, blocks, tokens, state]`.
  private let shares: MixerTensor
  /// `[batch, channels, state + 2]`: of A, of D and of the bias of step sizes.
  private let sums: MixerTensor

  init(
    _ mixer: Mamba, _ blocks: ChannelBlocks, _ gradients: MixerTensors, ofInput: MixerTensor,
    tokens: Int
  ) {
    self.mixer = mixer
    self.blocks = blocks
    self.gradients = gradients
    count = tokens
    input = ofInput
    delta = gradients["ddelta"]
    z = gradients.find("dz")
    shares = MixerTensor(
      zeros: TensorForm(
        name: "shares", dimensions: ["two", "batch", "blocks", "rows", "state"],
        sizes: [2, mixer.batch, blocks.blocksPerSequence, tokens, mixer.states]), tokens: 0)
    sums = MixerTensor(
      zeros: TensorForm(
        name: "sums", dimensions: ["batch", "channels", "sums"],
        sizes: [mixer.batch, mixer.channels, mixer.states + 2]), tokens: 0)
  }

  /// Takes a block's share in the gradients of B and C.
  func add(
    _ work: MambaChunk, _ tokens: Range<Int>, _ sequence: Int, _ number: Int, _ blocks: Int
  ) {
    let states = mixer.states
    let place = ((sequence * blocks + number) * count + tokens.lowerBound) * states
    let half = shares.count / 2
    for index in 0..<tokens.count * states {
      unsafe shares.base[place + index] = Vector(loading: work.b, at: 8 * index).laneSum
      unsafe shares.base[half + place + index] = Vector(loading: work.c, at: 8 * index).laneSum
    }
  }

  /// Takes a block's sums over tokens.
  ///
  /// - Parameters:
  ///   - rates: `[channels, state]`, of A.
  ///   - others: of D and of the bias, eight channels at a time.
  func store(
    _ rates: [Double], _ others: [SIMD8<Double>], _ sequence: Int, _ channels: Range<Int>
  ) {
    let states = mixer.states
    for (index, channel) in channels.enumerated() {
      let place = (sequence * mixer.channels + channel) * (states + 2)
      for n in 0..<states { unsafe sums.base[place + n] = Float(rates[index * states + n]) }
      for kind in 0..<2 {
        unsafe sums.base[place + states + kind] = Float(others[index / 8 * 2 + kind][index % 8])
      }
    }
  }

  /// Adds the blocks' shares.
  func addShares(on line: RankLine) {
    let (states, batch) = (mixer.states, mixer.batch)
    let blocks = blocks.blocksPerSequence
    for (kind, name) in ["db", "dc"].enumerated() {
      let target = gradients[name]
      line.forEachSegment(units: batch) { sequence, tokens, _ in
        let numbers = tokens.lowerBound * states..<tokens.upperBound * states
        for block in 0..<blocks {
          let from = ((kind * batch + sequence) * blocks + block) * count * states
          let to = sequence * count * states
          for index in numbers { unsafe target.base[to + index] += shares.base[from + index] }
        }
      }
    }
  }

  /// Adds the sums over tokens of all ranks and sequences.
  func combine(on line: RankLine) throws(MPIError) {
    try Summary.sum.combine(sums, on: line)
    let (states, channels) = (mixer.states, mixer.channels)
    for sequence in 0..<mixer.batch {
      for channel in 0..<channels {
        let place = (sequence * channels + channel) * (states + 2)
        for n in 0..<states {
          unsafe gradients["da"].base[channel * states + n] += sums.base[place + n]
        }
        unsafe gradients["dd"].base[channel] += sums.base[place + states]
        if let bias = gradients.find("ddelta_bias") {
          unsafe bias.base[channel] += sums.base[place + states + 1]
        }
      }
    }
  }
}
