package import Mixers
import Reporting
import Tensors

/// An operator over sequences of any length.
package struct MixerCase {
  package let type: any Mixer.Type
  /// Of everything but tokens.
  let sizes: MixerSizes
  let options: MixerOptions
  /// The sizes, as they are said.
  package let words: String
  package let threads: Int

  /// - Parameters:
  ///   - sizes: by the names of dimensions, of those that the operator's random tensors have.
  package init(
    _ type: any Mixer.Type, _ sizes: [String: Int], options: MixerOptions, threads: Int
  ) throws {
    let names = type.randomDimensions + type.furtherRandomDimensions.map(\.name)
    var own = MixerSizes()
    for name in names where name != "tokens" {
      if let size = sizes[name] { own.complete(name, size) }
    }
    for (name, likewise) in type.furtherRandomDimensions {
      if own.find(name) == nil, let size = own.find(likewise) { own.complete(name, size) }
    }
    for name in type.randomDimensions where name != "tokens" && own.find(name) == nil {
      throw UserError.usage("\(type.name) has a \(name); give it, as in --sizes \(name)=16.")
    }
    self.type = type
    self.sizes = own
    var options = options
    if !type.options.contains(.causal) { options.isCausal = false }
    if !type.options.contains(.softplus) { options.softplus = false }
    self.options = options
    self.threads = threads
    words = names.filter { $0 != "tokens" }.compactMap { name in
      own.find(name).map { "\(name)=\($0)" }
    }.joined(separator: ",")
  }

  package var isCausal: Bool { options.isCausal }

  /// What is computed.
  package func mixer(tokens: Int) throws -> any Mixer {
    var sizes = sizes
    sizes.complete("tokens", tokens)
    do throws(MixerError) {
      return try type.init(sizes, present: type.randomTensors, options: options)
    } catch {
      throw UserError.usage(error.description)
    }
  }

  /// Whether twice the tokens are about twice the work.
  package var isLinear: Bool {
    get throws {
      let (short, long) = (try mixer(tokens: 1 << 20), try mixer(tokens: 1 << 21))
      return long.flopsPerToken.forward < 1.5 * short.flopsPerToken.forward
    }
  }

  /// Useful floating-point operations of a pass over so many tokens, exponentials as one.
  func flops(_ pass: KernelPass, _ mixer: any Mixer, tokens: Int) -> Double {
    let perToken = mixer.flopsPerToken
    return (pass == .forward ? perToken.forward : perToken.backward)
      * Double(tokens) * Double(mixer.batch)
  }
}

extension Mixer {
  /// Bytes that a pass over a rank's tokens has to read and to write at least.
  package func leastBytes(_ pass: KernelPass, tokens: Int) -> Double {
    func bytes(_ forms: [TensorForm]) -> Double {
      forms.reduce(0) { $0 + 4 * Double($1.shape(tokens: tokens).elementCount) }
    }
    // Backward all inputs and the gradient of the output are read, and those of inputs written.
    return switch pass {
    case .forward: bytes(inputs) + bytes(outputs)
    case .backward: 2 * bytes(inputs) + bytes([outputs[0]])
    }
  }

  /// Bytes of a rank: inputs, outputs, gradients and what the passes keep.
  package func residentBytes(tokens: Int, gradients: Bool) -> Double {
    leastBytes(.forward, tokens: tokens) + keptBytes(tokens: tokens)
      + (gradients ? leastBytes(.backward, tokens: tokens) / 2 : 0)
  }
}
