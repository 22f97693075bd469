"""Writes a tiny llama model with random weights for mlx_lm: make_mlx_model.py FOLDER.

Run inside the environment that mlx.sh makes. Nothing is downloaded: weights come from a seed, the
tokenizer knows single bytes and syllables, and the output layer can choose syllables only.
"""
import json
import pathlib
import sys

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import llama
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<unk>", "<s>", "</s>"]
SYLLABLES = [c + v for c in "bdfghjklmnprstvz" for v in "aeiou"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def write_tokenizer(folder):
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {text: i for i, text in enumerate(SPECIAL + bytes_ + SYLLABLES)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(s) for s in SYLLABLES], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "chat_template": CHAT_TEMPLATE, "model_max_length": 2048,
    }))
    return vocab


def write_weights(folder, vocab):
    config = {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,
        "num_attention_heads": 4, "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "vocab_size": len(vocab),
        "max_position_embeddings": 2048, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(1)
    model = llama.Model(llama.ModelArgs.from_dict(config))
    spoken = mx.array([[1.0 if text in SYLLABLES else 0.0] for text in sorted(vocab, key=vocab.get)])
    model.lm_head.weight = mx.random.normal((len(vocab), 64)) * spoken
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, write_tokenizer(folder))


main()
