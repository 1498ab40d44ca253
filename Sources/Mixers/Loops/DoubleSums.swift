import Tensors

/// Sums over many tokens, in double precision; units write to places of their own.
@safe
final class DoubleSums: @unchecked Sendable {
  private let memory: AlignedBuffer<Double>

  init(count: Int) { memory = AlignedBuffer(zeros: count) }

  /// Adds to one of them.
  func add(_ number: Float, at place: Int) {
    precondition(place >= 0 && place < memory.count, "no such sum")
    unsafe memory.unsafeBaseAddress[place] += Double(number)
  }

  /// The sums as pairs of floats: what one holds, and the rest.
  func split(into tensor: MixerTensor, rest: MixerTensor) {
    precondition(tensor.count == memory.count && rest.count == memory.count, "as many sums")
    for place in 0..<tensor.count {
      let sum = unsafe memory.unsafeBaseAddress[place]
      unsafe tensor.base[place] = Float(sum)
      unsafe rest.base[place] = Float(sum - Double(tensor.base[place]))
    }
  }

  /// The sums as floats.
  func store(to tensor: MixerTensor) {
    precondition(tensor.count == memory.count, "as many sums")
    for place in 0..<tensor.count {
      unsafe tensor.base[place] = Float(memory.unsafeBaseAddress[place])
    }
  }
}
