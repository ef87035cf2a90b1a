"""One training step of transformers + PEFT LoRA per line read, for `horo bench train --peer PYTHON`.

Needs torch, transformers and peft in a virtual environment outside the repository.
Arguments: hidden layers heads ffn batch length threads dtype(f32|bf16) compile(0|1).
Prints "ready VERSIONS", then for every line on standard input the seconds of one step.
"""
import sys
import time

import peft
import torch
import transformers

hidden, layers, heads, ffn, batch, length, threads = map(int, sys.argv[1:8])
bf16, compiled = sys.argv[8] == "bf16", sys.argv[9] == "1"
torch.set_num_threads(threads)
torch.manual_seed(0)
config = transformers.LlamaConfig(
    hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
    intermediate_size=ffn, vocab_size=32000, max_position_embeddings=512, tie_word_embeddings=True,
    attn_implementation="sdpa")
model = transformers.LlamaForCausalLM(config)
if bf16:
    model = model.to(torch.bfloat16)
model = peft.get_peft_model(model, peft.LoraConfig(
    r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]))
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0)
ids = torch.randint(0, 32000, (batch, length))
run = torch.compile(model) if compiled else model


def step():
    loss = run(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


step()
print("ready torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__, flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    step()
    print(time.perf_counter() - started, flush=True)
