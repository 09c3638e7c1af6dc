"""Two small models with the numbers that the papers' own programs produce on them, float32 on a CPU.

gpt2: scalable-model-editing/rebuilding-rome @ 4095d04 (arXiv 2403.07175). llama: zjunlp/EasyEdit @ 14cea82, its R-ROME
with the key flags of each variant. `target_init` and `edited_logits` come from an independent program.
"""
