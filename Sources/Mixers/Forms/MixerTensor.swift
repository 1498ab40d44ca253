public import Tensors

/// A rank's part of a tensor of an operator, which passes share.
///
/// Threads write to disjoint places of it.
@safe
public final class MixerTensor: @unchecked Sendable {
  /// What it is a part of.
  public let form: TensorForm
  private let owner: Owner

  /// The memory, which tensors with several names may share.
  private final class Owner: Sendable {
    let block: TensorBlock
    let shape: Shape

    init(_ block: TensorBlock, _ shape: Shape) { (self.block, self.shape) = (block, shape) }

    deinit { TensorMemory.give(block) }
  }

  /// Zeros.
  ///
  /// - Parameter tokens: those of the rank.
  public init(zeros form: TensorForm, tokens: Int) {
    self.form = form
    let shape = form.shape(tokens: tokens)
    let block = TensorMemory.take(shape.elementCount) ?? TensorBlock(Tensor(zeros: shape))
    owner = Owner(block, shape)
  }

  /// Takes a tensor of the shape that the form has.
  public init(_ form: TensorForm, _ tensor: consuming Tensor<Float>) {
    self.form = form
    let shape = tensor.shape
    owner = Owner(TensorBlock(tensor), shape)
  }

  /// The same numbers under another name.
  package init(sharing other: MixerTensor, named name: String) {
    form = other.form.named(name)
    owner = other.owner
  }

  /// The shape of the part.
  public var shape: Shape { owner.shape }

  /// How many numbers it has.
  public var count: Int { owner.block.tensor.count }

  /// The numbers, row-major.
  public var span: Span<Float> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Takes numbers that all ranks have.
  ///
  /// - Parameter sizes: the dimensions, outermost first.
  public convenience init(
    _ name: String, _ sizes: KeyValuePairs<String, Int>, _ numbers: [Float]
  ) {
    self.init(
      zeros: TensorForm(name: name, dimensions: sizes.map(\.key), sizes: sizes.map(\.value)),
      tokens: 0)
    precondition(numbers.count == count, "\(numbers.count) numbers for \(name)")
    write(0..<count) { target in
      for place in 0..<target.count { target[place] = numbers[place] }
    }
  }

  /// The same numbers under another name.
  public func named(_ name: String) -> MixerTensor { MixerTensor(sharing: self, named: name) }

  /// Lends some numbers to be written, while nobody else uses them.
  public func write(_ range: Range<Int>, _ body: (inout MutableSpan<Float>) -> Void) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "numbers outside of a tensor")
    var span = unsafe MutableSpan(_unsafeStart: base + range.lowerBound, count: range.count)
    body(&span)
  }

  /// The numbers as an array; for tests and small tensors.
  public var array: [Float] {
    span.indices.map { span[$0] }
  }

  /// Where the numbers are.
  @unsafe
  package var base: UnsafeMutablePointer<Float> {
    unsafe owner.block.tensor.unsafeBaseAddress
  }

  /// All numbers.
  @unsafe
  package var numbers: UnsafeMutableBufferPointer<Float> {
    unsafe UnsafeMutableBufferPointer(start: base, count: count)
  }
}

/// Tensors by their names.
public struct MixerTensors: Sendable {
  private var tensors: [String: MixerTensor] = [:]
  private var names: [String] = []

  /// No tensors.
  public init() {}

  /// A tensor.
  ///
  /// - Precondition: it is there.
  public subscript(name: String) -> MixerTensor {
    guard let tensor = tensors[name] else { preconditionFailure("there is no \(name)") }
    return tensor
  }

  /// All of them, in the order in which they were added.
  public var all: [(name: String, tensor: MixerTensor)] {
    names.compactMap { name in tensors[name].map { (name, $0) } }
  }

  /// A tensor that may not be there.
  public func find(_ name: String) -> MixerTensor? { tensors[name] }

  /// Adds a tensor under the name of its form.
  public mutating func add(_ tensor: MixerTensor) {
    if tensors.updateValue(tensor, forKey: tensor.form.name) == nil {
      names.append(tensor.form.name)
    }
  }

  /// Adds zeros.
  mutating func addZeros(_ form: TensorForm, tokens: Int) -> MixerTensor {
    let tensor = MixerTensor(zeros: form, tokens: tokens)
    add(tensor)
    return tensor
  }
}
