/// All operators.
public enum MixerCatalog {
  /// A new operator is a line here.
  public static let all: [any Mixer.Type] = [
    AFT.self, Cosformer.self, DeltaNet.self, GLA.self, InfoNCE.self, LED.self, Linformer.self,
    Mamba.self, Mamba2.self, ReLUAttention.self, RWKV4.self, RWKV5.self, RWKV6.self, SimA.self,
    SOFT.self,
  ]

  /// The operator of a name.
  public static func named(_ name: String) -> (any Mixer.Type)? { all.first { $0.name == name } }
}
