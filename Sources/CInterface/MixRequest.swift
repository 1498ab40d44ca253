import CGyre
import Mixers
import Reporting
import Sharding
import Tensors

/// What of `gyre_mixing` an operator needs, checked; the number of tokens is of this rank alone.
struct MixRequest {
  let type: any Mixer.Type
  let options: MixerOptions
  let layout: Layout
  /// The tensors in the order of the caller, with the sizes of this rank.
  let tensors: [(demand: TensorDemand, sizes: [Int])]
  /// The tokens of this rank.
  let tokens: Int
  private let optionWords: String

  /// Reads and checks what a caller asks for.
  ///
  /// - Throws: a sentence that names the tensor or the option.
  init(_ asked: gyre_mixing) throws {
    guard unsafe asked.interface == GYRE_INTERFACE else {
      throw unsafe AttentionRequest.otherVersion(asked.interface)
    }
    let name = unsafe asked.mixer.map { unsafe String(cString: $0) } ?? ""
    guard let type = MixerCatalog.named(name) else {
      let names = MixerCatalog.all.map { $0.name }.joined(separator: ", ")
      throw UserError("there is no operator '\(name)'; give one of \(names).")
    }
    self.type = type
    optionWords = unsafe asked.options.map { unsafe String(cString: $0) } ?? ""
    options = try MixOptionForm.read(optionWords, for: type)
    layout = try unsafe AttentionRequest.layout(asked.layout, otherwise: .contiguous)
    let demands = type.demands(for: options)
    tensors = try unsafe Self.tensors(asked, type, demands)
    let given = Set(tensors.map(\.demand.name))
    for demand in demands where !demand.isOptional && !given.contains(demand.name) {
      throw UserError("\(name) needs a tensor \(demand.name) \(demand.shapes); give it.")
    }
    let counts = tensors.compactMap { tensor in
      tensor.demand.tokenAxis(of: tensor.sizes).map { (tensor.demand.name, tensor.sizes[$0]) }
    }
    tokens = counts.first?.1 ?? 0
    if let other = counts.first(where: { $0.1 != counts[0].1 }) {
      throw UserError(
        "\(counts[0].0) has \(counts[0].1) tokens and \(other.0) has \(other.1); give all the rows "
          + "of this rank's tokens.")
    }
  }

  private static func tensors(
    _ asked: gyre_mixing, _ type: any Mixer.Type, _ demands: [TensorDemand]
  ) throws -> [(demand: TensorDemand, sizes: [Int])] {
    let count = unsafe Int(asked.tensor_count)
    guard unsafe (0...64).contains(count) && (asked.tensors != nil || count == 0) else {
      throw UserError("there are no \(count) tensors.")
    }
    var found: [(demand: TensorDemand, sizes: [Int])] = []
    for index in 0..<count {
      guard let tensor = unsafe asked.tensors?[index], let name = unsafe tensor.name else {
        throw UserError("a tensor has no name.")
      }
      let text = unsafe String(cString: name)
      guard let demand = demands.first(where: { $0.name == text }) else {
        let names = demands.map(\.name).joined(separator: ", ")
        throw UserError(
          "\(type.name) has no tensor \(text) with these options; its tensors are \(names).")
      }
      guard !found.contains(where: { $0.demand.name == text }) else {
        throw UserError("\(text) is given twice.")
      }
      let sizes = unsafe tensor.sizesArray
      guard let names = demand.dimensions(rank: sizes.count) else {
        throw UserError("\(text) is \(sizes), and \(type.name) needs \(demand.shapes).")
      }
      for (name, size) in zip(names, sizes)
      where size < (["tokens", "keys"].contains(name) ? 0 : 1) || size > 1 << 40 {
        throw UserError("\(text) has a \(name) of \(size); only the tokens may be 0.")
      }
      guard unsafe tensor.data != nil || sizes.contains(0) else {
        throw UserError("\(text) has no data.")
      }
      found.append((demand, sizes))
    }
    return found
  }

  /// In words, with all that has to be the same on all ranks.
  func words(_ pass: String) -> String {
    let shapes = tensors.map { tensor in
      var sizes = tensor.sizes.map(String.init)
      if let axis = tensor.demand.tokenAxis(of: tensor.sizes) { sizes[axis] = "tokens" }
      return "\(tensor.demand.name) [\(sizes.joined(separator: ", "))]"
    }
    let parts = shapes + (optionWords.isEmpty ? [] : [optionWords]) + ["layout \(layout)"]
    return "computes \(pass) \(type.name) (\(parts.joined(separator: ", ")))"
  }

  /// The operator for a sequence of so many tokens.
  ///
  /// - Throws: a sentence, if no such problem is computed.
  func mixer(tokens: Int) throws -> any Mixer {
    var sizes = MixerSizes()
    for (demand, own) in tensors {
      var whole = own
      if let axis = demand.tokenAxis(of: own) { whole[axis] = tokens }
      if let other = sizes.add(demand, Shape(whole)) {
        throw UserError(
          "\(demand.name) is \(own), whose \(other.name) is \(sizes[other.name]) in a tensor "
            + "before it; make them the same.")
      }
    }
    let optional = tensors.map(\.demand).filter(\.isOptional).map(\.name)
    let mixer: any Mixer
    do throws(MixerError) {
      mixer = try type.init(sizes, present: Set(optional), options: options)
    } catch {
      // What is an option of the command is a word here.
      throw UserError(error.description.replacing("--", with: ""))
    }
    guard !mixer.isInOrder || layout == .contiguous else {
      throw UserError(
        "layout is \(layout), and \(type.name) passes a state from token to token; give "
          + "layout=\"contiguous\", and cut sequences so.")
    }
    return mixer
  }
}

extension TensorDemand {
  /// Which of its dimensions is that of tokens; nil for what every rank has.
  func tokenAxis(of sizes: [Int]) -> Int? {
    dimensions(rank: sizes.count)?.firstIndex(of: "tokens")
  }

  /// Its shape in words: `[tokens, rank] or [kvHeads, tokens, rank]`.
  var shapes: String {
    [dimensions, otherDimensions].compactMap(\.self)
      .map { "[\($0.joined(separator: ", "))]" }.joined(separator: " or ")
  }
}
